//! Single steps, breakpoints, MOV DR.

use x86::control::{cr4, debug};
use x86::{Gpr, flags};

use super::*;

const NOP: u8 = 0x90;

fn dr6(guest: &Guest) -> u64 {
    guest.cpu.state.dr6 & !debug::DR6_FIXED
}

#[test]
fn a_single_step_traps_after_each_instruction() {
    let mut guest = Guest::long(0).changed(|state| state.rflags |= flags::TF);
    assert_eq!(guest.run(&[NOP, NOP]), End::Vector(1));
    let [rip, _, rflags] = guest.frame_64();
    assert_eq!((rip, dr6(&guest)), (CODE + 1, debug::DR6_BS));
    assert_eq!((rflags & flags::TF, guest.cpu.rflags() & flags::TF), (flags::TF, 0));
    // popfq that sets TF: the instruction behind it is the first to be traced.
    let mut guest = Guest::long(0);
    guest.put_u64(STACK - 8, flags::TF);
    let mut guest = guest.with(Gpr::Rsp, STACK - 8);
    assert_eq!(guest.run(&[0x9d, NOP, NOP]), End::Vector(1));
    assert_eq!(guest.frame_64::<1>(), [CODE + 2]);
    // INT goes where TF is clear and is not trapped itself.
    let mut guest = Guest::long(0).changed(|state| state.rflags |= flags::TF);
    assert_eq!(guest.run(&[0xcd, 0x40]), End::Vector(0x40));
    // mov ss, ax holds the trap off for one instruction.
    let mut guest =
        Guest::long(0).with(Gpr::Rax, sel::DATA.into()).changed(|state| state.rflags |= flags::TF);
    assert_eq!(guest.run(&[0x8e, 0xd0, NOP, NOP]), End::Vector(1));
    assert_eq!(guest.frame_64::<1>(), [CODE + 3]);
}

#[test]
fn an_instruction_breakpoint_comes_before_and_rf_passes_it() {
    let armed = |guest: Guest| {
        guest.changed(|state| {
            state.dr[2] = CODE + 1;
            state.dr7 |= 1 << 4;
        })
    };
    let mut guest = armed(Guest::long(0));
    assert_eq!(guest.run(&[NOP, NOP]), End::Vector(1));
    assert_eq!((guest.frame_64::<1>(), dr6(&guest)), ([CODE + 1], 1 << 2));
    let mut guest = armed(Guest::long(0)).changed(|state| {
        state.rflags |= flags::RF;
        state.rip += 1;
    });
    assert_eq!(guest.run(&[NOP]), End::Halted);
    assert_eq!(guest.cpu.rflags() & flags::RF, 0, "RF lasts for one instruction");
}

#[test]
fn a_data_breakpoint_traps_after_the_access() {
    let write = &[0x89, 0x04, 0x25, 0, 0, 4, 0, NOP]; // mov [DATA], eax
    let read = &[0x8b, 0x04, 0x25, 0, 0, 4, 0, NOP];
    for (kind, writes, reads) in [(1, true, false), (3, true, true)] {
        for (code, hit) in [(write, writes), (read, reads)] {
            let mut guest = Guest::long(0).changed(|state| {
                state.dr[0] = DATA;
                state.dr7 |= 1 | kind << 16 | 3 << 18;
            });
            assert_eq!(guest.run(code), if hit { End::Vector(1) } else { End::Halted });
            if hit {
                assert_eq!((guest.frame_64::<1>(), dr6(&guest)), ([CODE + 7], 1));
            }
        }
    }
}

#[test]
fn a_port_breakpoint_needs_de() {
    for (de, end) in [(0, End::Halted), (cr4::DE, End::Vector(1))] {
        let mut guest = Guest::long(0).changed(|state| {
            state.cr4 |= de;
            state.dr[1] = 0x80;
            state.dr7 |= 1 << 2 | 2 << 20;
        });
        assert_eq!(guest.run(&[0xe6, 0x80]), end);
    }
}

#[test]
fn registers_keep_what_exists_and_refuse_the_rest() {
    // mov dr7, rax; mov rbx, dr7
    let mut guest = Guest::long(0).with(Gpr::Rax, 0xffff_0000);
    assert_eq!(guest.run(&[0x0f, 0x23, 0xf8, 0x0f, 0x21, 0xfb]), End::Halted);
    assert_eq!(guest.get(Gpr::Rbx), 0xffff_0400);
    // mov dr6, rax; mov rbx, dr6
    let mut guest = Guest::long(0).with(Gpr::Rax, 0xffff_ffff);
    assert_eq!(guest.run(&[0x0f, 0x23, 0xf0, 0x0f, 0x21, 0xf3]), End::Halted);
    assert_eq!(guest.get(Gpr::Rbx), 0xffff_eff0 | 0xf);
    let high = || Guest::long(0).with(Gpr::Rax, 1 << 32);
    all_fault(high, 13, &[&[0x0f, 0x23, 0xf8], &[0x0f, 0x23, 0xf0]]);
    all_fault(|| Guest::long(3), 13, &[&[0x0f, 0x21, 0xc3], &[0x0f, 0x23, 0xf8]]);
    // DR4 is DR6 unless CR4.DE.
    let mut guest = Guest::long(0);
    assert_eq!(guest.run(&[0x0f, 0x21, 0xe3]), End::Halted);
    assert_eq!(guest.get(Gpr::Rbx), debug::DR6_FIXED);
    all_fault(|| Guest::long(0).changed(|state| state.cr4 |= cr4::DE), 6, &[&[0x0f, 0x21, 0xe3]]);
    // General detect: #DB before the access, and GD is off in its handler.
    let mut guest = Guest::long(0).changed(|state| state.dr7 |= debug::DR7_GD);
    assert_eq!(guest.run(&[0x0f, 0x21, 0xc3]), End::Vector(1));
    assert_eq!((guest.frame_64::<1>(), dr6(&guest)), ([CODE], debug::DR6_BD));
    assert_eq!(guest.cpu.state.dr7 & debug::DR7_GD, 0);
}
