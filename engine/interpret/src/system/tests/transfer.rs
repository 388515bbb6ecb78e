//! Far jumps, calls and returns, call gates, fast system calls.

use x86::control::efer;
use x86::{Gpr, SegmentRegister, flags};

use super::*;

/// jmp far [DATA] with a 32-bit offset; the same as a call.
const JMP: &[u8] = &[0xff, 0x2c, 0x25, 0, 0, 4, 0];
const CALL: &[u8] = &[0xff, 0x1c, 0x25, 0, 0, 4, 0];

fn pointing(mut guest: Guest, selector: u16, offset: u32) -> Guest {
    guest.put_u32(DATA, offset);
    guest.put_u32(DATA + 4, selector.into());
    guest
}

#[test]
fn a_far_jump_changes_modes() {
    let mut guest = pointing(Guest::long(0), sel::CODE_32, DATA as u32 + 0x100);
    guest.put(DATA + 0x100, &[0xf4]);
    assert_eq!(guest.run(JMP), End::Halted);
    assert_eq!((guest.cpu.mode.code_bits, guest.cpu.rip), (32, DATA + 0x101));
    assert_eq!(guest.get_u64(GDT + 0x18) >> 40 & 0xff, 0x9b, "accessed");
    // From real mode to 16-bit protected mode and beyond: jmp 18h:DATA (66 EA).
    let mut guest = Guest::real().changed(|state| state.gdtr.limit = 0x9f);
    guest.put(DATA, &[0xf4]);
    let code = [
        &[0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0][..], // mov eax, cr0; or al, 1; mov cr0, eax
        &[0x66, 0xea, 0, 0, 4, 0, 0x18, 0],
    ];
    assert_eq!(guest.run(&code.concat()), End::Halted);
    assert_eq!((guest.cpu.mode.code_bits, guest.cpu.rip), (32, DATA + 1));
}

#[test]
fn far_targets_are_checked() {
    let table: &[(u8, u16, u8, u64)] = &[
        (0, 0, 13, 0),
        (0, sel::DATA, 13, 0x10),
        (0, sel::BEYOND, 13, 0xa0),
        (0, sel::USER_CODE_32, 13, 0x20),
        (0, sel::TSS, 13, 0x38),
        (3, sel::CODE_64, 13, 0x08),
        (3, sel::CALL_GATE_64, 13, 0x08), // a jump does not change levels
    ];
    for &(cpl, selector, vector, error) in table {
        let mut guest = pointing(Guest::long(cpl), selector, HANDLERS as u32);
        assert_eq!(guest.run(JMP), End::Vector(vector), "{selector:#x}");
        assert_eq!(guest.frame_64::<2>(), [error, CODE], "{selector:#x}");
    }
    // Beyond a 16-bit segment's limit.
    let mut guest = pointing(Guest::long(0), sel::CODE_16, 0x1_0000);
    assert_eq!(guest.run(JMP), End::Vector(13));
    assert_eq!(guest.frame_64::<2>(), [0, CODE]);
}

#[test]
fn a_far_call_pushes_and_a_far_return_pops() {
    let mut guest = pointing(Guest::long(0), sel::CODE_64, DATA as u32 + 0x100);
    guest.put(DATA + 0x100, &[0xca, 0x10, 0]); // retf 16 of 4-byte slots
    assert_eq!(guest.run(CALL), End::Halted);
    assert_eq!((guest.cpu.rip, guest.get(Gpr::Rsp)), (CODE + 8, STACK + 16));
    assert_eq!((guest.get_u32(STACK - 8), guest.get_u32(STACK - 4)), (CODE as u32 + 7, 8));
}

#[test]
fn a_call_gate_enters_the_kernel_on_its_stack() {
    let mut guest = pointing(Guest::long(3), sel::CALL_GATE_64, 0xdead_beef);
    assert_eq!(guest.run(CALL), End::Vector(0), "the gate leads to the first handler");
    assert_eq!(guest.frame_64::<4>(), [CODE + 7, 0x33, STACK, 0x2b]);
    assert_eq!((guest.cpu.mode.cpl, guest.get(Gpr::Rsp)), (0, STACK_0 - 32));
    assert_eq!(guest.segment(SegmentRegister::Ss).selector, 0);
    // 32-bit, with a parameter that goes along; retf 4 drops it from both stacks.
    let mut guest = Guest::protected(3).with(Gpr::Rsp, STACK - 4);
    guest.put_u32(STACK - 4, 0x1111_2222);
    guest.put(HANDLERS, &[0x8b, 0x5c, 0x24, 8, 0xca, 4, 0]); // mov ebx, [esp + 8]; retf 4
    let call = [0x9a, 0, 0, 0, 0, sel::CALL_GATE_32 as u8 | 3, 0];
    assert_eq!(guest.run(&call), End::Vector(13), "HLT behind the call, at CPL 3");
    assert_eq!(guest.frame_32::<5>(), [0, CODE as u32 + 7, 0x23, 2 | flags::RF as u32, STACK as u32]);
    assert_eq!(guest.get(Gpr::Rbx), 0x1111_2222);
}

#[test]
fn iretq_goes_out_and_drops_what_the_user_may_not_have() {
    let frame = |cs: u16, ss: u16, rflags: u64| {
        let mut guest = Guest::long(0).with(Gpr::Rsp, STACK - 40);
        let values = [DATA + 0x200, cs.into(), rflags, 0x2_1000, ss.into()];
        for (n, value) in values.into_iter().enumerate() {
            guest.put_u64(STACK - 40 + 8 * n as u64, value);
        }
        guest.put(DATA + 0x200, &[0x0f, 0x0b]);
        guest.changed(|state| state.segments[4] = Segment { base: 0x1234, ..Segment::default() })
    };
    let mut guest = frame(sel::USER_CODE_64, sel::USER_DATA, flags::IF | flags::IOPL | flags::VM | 2);
    assert_eq!(guest.run(&[0x48, 0xcf]), End::Vector(6));
    let [rip, cs, rflags, rsp, ss] = guest.frame_64();
    assert_eq!((rip, cs, rsp, ss), (DATA + 0x200, 0x33, 0x2_1000, 0x2b));
    assert_eq!(rflags, flags::IF | flags::IOPL | flags::RF | 2, "VM is not for 64-bit mode");
    assert_eq!(guest.segment(SegmentRegister::Ds).selector, 0, "DPL 0 is out of reach");
    assert_eq!(guest.segment(SegmentRegister::Fs).base, 0x1234, "a null FS keeps its base");
    // To compatibility mode.
    let mut guest = frame(sel::USER_CODE_32, sel::USER_DATA, 2);
    assert_eq!(guest.run(&[0x48, 0xcf]), End::Vector(6));
    assert_eq!(guest.frame_64::<2>(), [DATA + 0x200, 0x23]);
    // Level 0 with a null SS; then what is refused.
    let mut guest = frame(sel::CODE_64, 0, 2);
    assert_eq!(guest.run(&[0x48, 0xcf]), End::Vector(6));
    let refused: &[(u16, u16, u64, u64)] = &[
        (sel::USER_CODE_64, 0, 2, 0),
        (sel::USER_CODE_64, sel::DATA, 2, 0x10),
        (sel::DATA, sel::DATA, 2, 0x10),
        (0, sel::DATA, 2, 0),
        (sel::CODE_64 | 3, sel::USER_DATA, 2, 8),
    ];
    for &(cs, ss, rflags, error) in refused {
        let mut guest = frame(cs, ss, rflags);
        assert_eq!(guest.run(&[0x48, 0xcf]), End::Vector(13), "{cs:#x} {ss:#x}");
        assert_eq!(guest.frame_64::<2>(), [error, CODE], "{cs:#x} {ss:#x}");
    }
    // Nested tasks are not for long mode; a non-canonical address faults before anything changes.
    let nested = || frame(sel::CODE_64, 0, 2).changed(|state| state.rflags |= flags::NT);
    all_fault(nested, 13, &[&[0x48, 0xcf]]);
    let far = || {
        let mut guest = frame(sel::USER_CODE_64, sel::USER_DATA, 2);
        guest.put_u64(STACK - 40, 1 << 47);
        guest
    };
    all_fault(far, 13, &[&[0x48, 0xcf]]);
}

#[test]
fn user_code_cannot_raise_its_rights_by_iret() {
    let mut guest = Guest::long(3).with(Gpr::Rsp, STACK - 40);
    let values = [DATA, 0x33, flags::IF | flags::IOPL | flags::ZF | 2, STACK, 0x2b];
    for (n, value) in values.into_iter().enumerate() {
        guest.put_u64(STACK - 40 + 8 * n as u64, value);
    }
    guest.put(DATA, &[0x0f, 0x0b]);
    assert_eq!(guest.run(&[0x48, 0xcf]), End::Vector(6));
    let [_, _, rflags] = guest.frame_64();
    assert_eq!(rflags, flags::ZF | flags::RF | 2);
}

fn fast_calls(state: &mut CpuState) {
    state.msrs.star = 0x20 << 48 | 0x08 << 32;
    state.msrs.lstar = HANDLERS + 0x800;
    state.msrs.sfmask = flags::IF | flags::DF | flags::TF;
    state.msrs.sysenter_cs = 0x08;
    state.msrs.sysenter_eip = HANDLERS + 0x810;
    state.msrs.sysenter_esp = STACK_0 - 8;
}

#[test]
fn syscall_and_sysret_are_each_others_way_back() {
    let mut guest = Guest::long(3).changed(fast_calls).changed(|s| s.rflags |= flags::IF | flags::ZF);
    assert_eq!(guest.run(&[0x0f, 0x05]), End::Vector(0x80));
    assert_eq!((guest.get(Gpr::Rcx), guest.get(Gpr::R11)), (CODE + 2, flags::IF | flags::ZF | 2));
    assert_eq!(guest.cpu.rflags(), flags::ZF | 2);
    assert_eq!((guest.get(Gpr::Rsp), guest.cpu.mode.cpl), (STACK, 0), "the stack is software's business");
    let (cs, ss) = (guest.segment(SegmentRegister::Cs), guest.segment(SegmentRegister::Ss));
    assert_eq!((cs.selector, ss.selector, cs.access, ss.access), (8, 0x10, 0xa09b, 0xc093));
    // sysretq
    let mut guest = Guest::long(0).changed(fast_calls).with(Gpr::Rcx, DATA).with(Gpr::R11, flags::ALL);
    guest.put(DATA, &[0x0f, 0x0b]);
    assert_eq!(guest.run(&[0x48, 0x0f, 0x07]), End::Vector(1), "TF is among the flags");
    let [rip, cs, rflags, _, ss] = guest.frame_64();
    assert_eq!((rip, cs, ss), (DATA, 0x33, 0x2b));
    assert_eq!(rflags, flags::ALL & !(flags::VM | flags::RF));
    // sysretl goes to compatibility mode.
    let mut guest = Guest::long(0).changed(fast_calls).with(Gpr::Rcx, DATA).with(Gpr::R11, 2);
    guest.put(DATA, &[0x0f, 0x0b]);
    assert_eq!(guest.run(&[0x0f, 0x07]), End::Vector(6));
    assert_eq!(guest.frame_64::<2>(), [DATA, 0x23]);
    let bad = || Guest::long(0).changed(fast_calls).with(Gpr::Rcx, 1 << 47);
    all_fault(bad, 13, &[&[0x48, 0x0f, 0x07]]);
    all_fault(|| Guest::long(3).changed(fast_calls), 13, &[&[0x48, 0x0f, 0x07]]);
    let off = || Guest::long(0).changed(fast_calls).changed(|s| s.msrs.efer &= !efer::SCE);
    all_fault(off, 6, &[&[0x0f, 0x05], &[0x48, 0x0f, 0x07]]);
}

#[test]
fn sysenter_and_sysexit_take_all_from_their_registers() {
    let mut guest = Guest::long(3).changed(fast_calls);
    assert_eq!(guest.run(&[0x0f, 0x34]), End::Vector(0x81));
    assert_eq!((guest.get(Gpr::Rsp), guest.cpu.mode.cpl), (STACK_0 - 8, 0));
    // sysexitq: CS + 32, SS + 40.
    let out = || Guest::long(0).changed(fast_calls).with(Gpr::Rdx, DATA).with(Gpr::Rcx, STACK - 64);
    let mut guest = out();
    guest.put(DATA, &[0x0f, 0x0b]);
    assert_eq!(guest.run(&[0x48, 0x0f, 0x35]), End::Vector(6));
    let [rip, cs, _, rsp, ss] = guest.frame_64();
    assert_eq!((rip, cs, rsp, ss), (DATA, 0x2b, STACK - 64, 0x33));
    all_fault(|| Guest::long(0), 13, &[&[0x0f, 0x34], &[0x0f, 0x35]]);
    all_fault(|| Guest::long(3).changed(fast_calls), 13, &[&[0x0f, 0x35]]);
    assert_eq!(Guest::real().run(&[0x0f, 0x34]), End::Vector(13));
}
