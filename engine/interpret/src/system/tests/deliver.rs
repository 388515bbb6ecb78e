//! Events: gates, stacks, error codes, double and triple faults, shadows, NMIs.

use engine::Signals;
use x86::{Gpr, SegmentRegister, Shadow, flags};

use super::*;

const UD: &[u8] = &[0x0f, 0x0b];
/// mov eax, [ABSENT]
const TOUCH_ABSENT: &[u8] = &[0x8b, 0x04, 0x25, 0, 0, 7, 0];

#[test]
fn a_fault_in_64_bit_code_pushes_an_aligned_frame() {
    let mut guest = Guest::long(0).with(Gpr::Rsp, STACK - 3);
    assert_eq!(guest.run(UD), End::Vector(6));
    let [rip, cs, rflags, rsp, ss] = guest.frame_64();
    assert_eq!((rip, cs, rsp, ss), (CODE, sel::CODE_64.into(), STACK - 3, sel::DATA.into()));
    assert_eq!(rflags, flags::RESERVED_ONE | flags::RF, "faults come back with RF");
    assert_eq!(guest.get(Gpr::Rsp), ((STACK - 3) & !0xf) - 40);
    assert_eq!(guest.segment(SegmentRegister::Ss).selector, sel::DATA, "the same level keeps its SS");
}

#[test]
fn a_fault_in_user_code_changes_stacks_and_nulls_ss() {
    let mut guest = Guest::long(3).changed(|state| state.rflags |= flags::IF);
    assert_eq!(guest.run(UD), End::Vector(6));
    let [rip, cs, rflags, rsp, ss] = guest.frame_64();
    assert_eq!((rip, cs, rsp, ss), (CODE, sel::USER_CODE_64.into(), STACK, sel::USER_DATA.into()));
    assert_ne!(rflags & flags::IF, 0);
    assert_eq!(guest.get(Gpr::Rsp), STACK_0 - 40);
    assert_eq!((guest.segment(SegmentRegister::Ss).selector, guest.cpu.mode.cpl), (0, 0));
    assert_eq!(guest.cpu.rflags() & flags::IF, 0, "an interrupt gate");
}

#[test]
fn a_page_fault_leaves_its_address_and_code() {
    let mut guest = Guest::long(3);
    assert_eq!(guest.run(TOUCH_ABSENT), End::Vector(14));
    assert_eq!(guest.cpu.state.cr2, ABSENT);
    let [code, rip] = guest.frame_64();
    assert_eq!((code, rip), (4, CODE));
}

#[test]
fn an_interrupt_stack_is_taken_whatever_the_level() {
    let mut guest = Guest::long(0);
    guest.gate_64(6, 0x8f, 1);
    let mut guest = guest.changed(|state| state.rflags |= flags::IF);
    assert_eq!(guest.run(UD), End::Vector(6));
    assert_eq!(guest.get(Gpr::Rsp), IST_1 - 40);
    assert_ne!(guest.cpu.rflags() & flags::IF, 0, "a trap gate");
}

#[test]
fn faults_of_delivery_add_up() {
    // An absent gate for #UD: #NP with the vector, IDT and EXT in its code.
    let mut guest = Guest::long(0);
    guest.gate_64(6, 0x0e, 0);
    assert_eq!(guest.run(UD), End::Vector(11));
    assert_eq!(guest.frame_64::<1>(), [6 << 3 | 2 | 1]);
    // The same for #GP (a CR4 without PAE): contributory, so #DF with code 0.
    let mut guest = Guest::long(0);
    guest.gate_64(13, 0x0e, 0);
    assert_eq!(guest.run(&[0x31, 0xc0, 0x0f, 0x22, 0xe0]), End::Vector(8));
    assert_eq!(guest.frame_64::<2>(), [0, CODE + 2]);
    // And without a gate for #DF the CPU shuts down.
    let mut guest = Guest::long(0);
    guest.gate_64(13, 0x0e, 0);
    guest.gate_64(8, 0x0e, 0);
    assert_eq!(guest.run(&[0x31, 0xc0, 0x0f, 0x22, 0xe0]), End::Shutdown);
}

#[test]
fn a_stack_that_faults_leaves_the_old_one() {
    let mut guest = Guest::long(3);
    guest.put_u64(TSS + 4, ABSENT + 0x1008); // the second push faults
    guest.gate_64(8, 0x8e, 1);
    // #UD, then #PF on the stack, then #PF on the same stack again: #DF, which has another.
    assert_eq!(guest.run(UD), End::Vector(8));
    let [code, rip, cs, _, rsp, ss] = guest.frame_64();
    assert_eq!((code, rip, cs, rsp, ss), (0, CODE, 0x33, STACK, 0x2b));
    assert_eq!(guest.cpu.state.cr2, ABSENT + 0xff8);
}

#[test]
fn software_needs_the_gates_level() {
    let int = &[0xcd, 0x40];
    let mut guest = Guest::long(3);
    assert_eq!(guest.run(int), End::Vector(13));
    assert_eq!(guest.frame_64::<2>(), [0x40 << 3 | 2, CODE], "no EXT: the program asked for it");
    let mut guest = Guest::long(3);
    guest.gate_64(0x40, 0xee, 0);
    assert_eq!(guest.run(int), End::Vector(0x40));
    assert_eq!(guest.frame_64::<1>(), [CODE + 2]);
    // INT1 does not care.
    let mut guest = Guest::long(3);
    assert_eq!(guest.run(&[0xf1]), End::Vector(1));
    assert_eq!(guest.frame_64::<1>(), [CODE + 1]);
    let mut guest = Guest::long(3);
    guest.gate_64(1, 0x0e, 0);
    assert_eq!(guest.run(&[0xf1]), End::Vector(11));
    assert_eq!(guest.frame_64::<2>(), [1 << 3 | 2 | 1, CODE], "EXT, as for what comes from outside");
    let mut guest = Guest::long(3);
    assert_eq!(guest.run(&[0xcc]), End::Vector(13));
}

#[test]
fn protected_mode_pushes_four_bytes_each() {
    let mut guest = Guest::protected(3);
    assert_eq!(guest.run(UD), End::Vector(6));
    let [eip, cs, eflags, esp, ss] = guest.frame_32();
    assert_eq!((eip, cs, esp, ss), (CODE as u32, 0x23, STACK as u32, 0x2b));
    assert_eq!(eflags, (flags::RESERVED_ONE | flags::RF) as u32);
    assert_eq!(guest.segment(SegmentRegister::Ss).selector, sel::DATA);
    // A 16-bit gate pushes two bytes each.
    let mut guest = Guest::protected(0);
    guest.put_u64(IDT + 8 * 6, 0x0000_8600_0018_0000 | 0x60);
    guest.put(0x60, &[0xf4]);
    assert_eq!(guest.run(UD), End::Halted);
    assert_eq!((guest.cpu.rip, guest.get(Gpr::Rsp)), (0x61, STACK - 6));
}

#[test]
fn a_bad_inner_stack_is_an_invalid_tss() {
    for (ss, vector) in [(0, 10), (sel::USER_DATA, 10), (sel::ABSENT_DATA, 10), (sel::BEYOND, 10)] {
        let mut guest = Guest::protected(3);
        guest.put_u32(TSS + 8, ss.into());
        // The handlers' own delivery fails alike: a triple fault, by way of this vector.
        assert_eq!(guest.run(UD), End::Shutdown, "{ss:#x} {vector}");
    }
}

#[test]
fn real_mode_pushes_flags_cs_and_ip() {
    let mut guest = Guest::real().changed(|state| state.rflags |= flags::IF);
    assert_eq!(guest.run(&[0xcd, 0x21]), End::Vector(0x21));
    assert_eq!(guest.get(Gpr::Rsp), 0xfff0 - 6);
    let frame = [0, 2, 4].map(|n| guest.get_u16(0xffea + n));
    assert_eq!(frame, [2, (CODE >> 4) as u16, 0x202]);
    assert_eq!(guest.cpu.rflags() & flags::IF, 0);
    // A table too short: #GP, then #DF, then nothing.
    let mut guest = Guest::real().changed(|state| state.idtr.limit = 0x83);
    assert_eq!(guest.run(&[0xcd, 0x21]), End::Vector(13));
    let mut guest = Guest::real().changed(|state| state.idtr.limit = 0);
    assert_eq!(guest.run(&[0xcd, 0x21]), End::Shutdown);
}

#[test]
fn interrupts_wait_for_if_and_for_shadows() {
    let announce = |guest: &Guest| {
        *guest.board.interrupt.lock().unwrap() = Some(0x40);
        guest.attention.raise(Signals::INTERRUPT);
    };
    // cli-code: nothing comes.
    let mut guest = Guest::long(0);
    announce(&guest);
    assert_eq!(guest.run(&[0x90]), End::Halted);
    // sti; nop; nop: after the first nop.
    let mut guest = Guest::long(0);
    announce(&guest);
    assert_eq!(guest.run(&[0xfb, 0x90, 0x90]), End::Vector(0x40));
    assert_eq!(guest.frame_64::<1>(), [CODE + 2]);
    // sti; mov ss, ax; nop: the shadow of SS follows that of STI.
    let mut guest = Guest::long(0).with(Gpr::Rax, sel::DATA.into());
    announce(&guest);
    assert_eq!(guest.run(&[0xfb, 0x8e, 0xd0, 0x90, 0x90]), End::Vector(0x40));
    assert_eq!(guest.frame_64::<1>(), [CODE + 4]);
    assert_eq!(guest.cpu.state.events.shadow, Shadow::None);
    // hlt wakes and returns behind itself.
    let mut guest = Guest::long(0).changed(|state| state.rflags |= flags::IF);
    assert_eq!(guest.run(&[0xf4]), End::Halted);
    announce(&guest);
    assert_eq!(guest.go(100), End::Vector(0x40));
    assert_eq!(guest.frame_64::<1>(), [CODE + 1]);
}

#[test]
fn nmis_come_without_if_and_once_until_iret() {
    let mut guest = Guest::long(0);
    guest.attention.raise(Signals::NMI);
    assert_eq!(guest.run(&[0x90]), End::Vector(2));
    guest.attention.raise(Signals::NMI);
    guest.put(HANDLERS + 0x20, &[0xf4, 0xf4, 0x48, 0xcf]); // hlt; hlt; iretq
    assert_eq!(guest.go(100), End::Vector(2), "blocked: still in the handler");
    let (rsp, state) = (guest.get(Gpr::Rsp), guest.cpu.state.events);
    assert!(state.nmi_pending && state.nmi_blocked);
    // Out of the halt by hand, to the IRETQ.
    let mut guest = guest.changed(|state| {
        state.rip = HANDLERS + 0x22;
        state.events.activity = x86::Activity::Running;
    });
    assert_eq!(guest.get(Gpr::Rsp), rsp);
    assert_eq!(guest.go(1), End::Running);
    assert_eq!(guest.go(1), End::Vector(2), "the NMI that waited, at its HLT");
    assert_eq!(guest.cpu.rip, HANDLERS + 0x21);
}

#[test]
fn virtual_8086_mode_goes_out_and_comes_back() {
    // iretd to v86 from a frame made by hand, INT there (IOPL 3), and the frame it leaves.
    let mut guest = Guest::protected(0);
    let vm = (flags::VM | flags::IOPL | flags::RESERVED_ONE) as u32;
    let frame = [0x10, 0x1000, vm, 0xff00, 0x2000, 0x111, 0x222, 0x333, 0x444];
    let rsp = STACK - 36;
    for (n, value) in frame.into_iter().enumerate() {
        guest.put_u32(rsp + 4 * n as u64, value);
    }
    guest.put(0x1_0010, &[0xcd, 0x40]); // int 40h at 1000:0010
    guest.gate_32(0x40, 0xee);
    let mut guest = guest.with(Gpr::Rsp, rsp).changed(|state| state.rip = DATA);
    assert_eq!(guest.run(&[0xcf]), End::Vector(0x40));
    assert_eq!(guest.cpu.mode.cpl, 0);
    assert!(!guest.cpu.mode.v86);
    let out: [u32; 9] = guest.frame_32();
    assert_eq!(out, [0x12, 0x1000, vm, 0xff00, 0x2000, 0x111, 0x222, 0x333, 0x444]);
    assert_eq!(guest.segment(SegmentRegister::Ds).selector, 0);
    // With IOPL below 3, INT n is #GP(0).
    let mut guest = Guest::protected(0);
    for (n, value) in frame.into_iter().enumerate() {
        let value = if n == 2 { vm & !(flags::IOPL as u32) } else { value };
        guest.put_u32(rsp + 4 * n as u64, value);
    }
    guest.put(0x1_0010, &[0xcd, 0x40]);
    let mut guest = guest.with(Gpr::Rsp, rsp).changed(|state| state.rip = DATA);
    assert_eq!(guest.run(&[0xcf]), End::Vector(13));
    assert_eq!(guest.frame_32::<2>(), [0, 0x10]);
}

#[test]
fn an_instruction_of_more_than_15_bytes_is_a_general_protection_fault() {
    let mut guest = Guest::long(0);
    let nop = [&[0x66; 15][..], &[0x90]].concat();
    assert_eq!(guest.run(&nop), End::Vector(13));
    assert_eq!(guest.frame_64::<2>(), [0, CODE]);
    assert_eq!(Guest::long(0).run(&nop[1..]), End::Halted);
}

#[test]
fn stacks_have_limits_and_sizes() {
    // A 16-bit stack wraps at 64 KiB and keeps the upper half of ESP.
    let small = |guest: Guest| {
        guest.with(Gpr::Rsp, 0xabcd_0000).changed(|state| {
            *state.segment_mut(SegmentRegister::Ss) =
                Segment { base: DATA, limit: 0xffff, selector: sel::DATA_16, access: 0x0093 };
        })
    };
    let mut guest = small(Guest::protected(0));
    assert_eq!(guest.run(&[0x06, 0x0f, 0x0b]), End::Vector(6)); // push es; ud2
    assert_eq!(guest.get(Gpr::Rsp), 0xabcd_fff0);
    assert_eq!(guest.get_u32(DATA + 0xfff0), CODE as u32 + 1);
    // Expand-down: what lies at or below the limit is out of reach, so #SS(0), then on the same stack #DF.
    let down = |limit: u32| {
        Guest::protected(0).with(Gpr::Rsp, 0x8002).changed(|state| {
            *state.segment_mut(SegmentRegister::Ss) =
                Segment { base: DATA, limit, selector: sel::DATA, access: 0x4097 };
        })
    };
    assert_eq!(down(0x7000).run(&[0x06]), End::Halted);
    assert_eq!(down(0x7fff).run(&[0x06]), End::Shutdown);
    // From user code the handler has a stack of its own.
    let mut guest = Guest::protected(3).with(Gpr::Rsp, 0x2).changed(|state| {
        state.segment_mut(SegmentRegister::Ss).limit = 0xfff;
    });
    assert_eq!(guest.run(&[0x06]), End::Vector(12));
    assert_eq!(guest.frame_32::<2>(), [0, CODE as u32]);
    assert_eq!(guest.frame_32::<5>()[4], 2, "the pointer has not moved");
}
