//! Loads of segment and table registers, and questions about selectors.

use x86::control::cr4;
use x86::{Gpr, Segment, SegmentRegister, access, flags};

use super::*;

/// mov REG, ax for ES, SS, DS, FS, GS.
const MOV_ES: &[u8] = &[0x8e, 0xc0];
const MOV_SS: &[u8] = &[0x8e, 0xd0];
const MOV_DS: &[u8] = &[0x8e, 0xd8];

#[test]
fn loads_are_checked() {
    type Case = (u8, &'static [u8], u16, Option<(u8, u64)>);
    let table: &[Case] = &[
        (0, MOV_DS, sel::DATA, None),
        (0, MOV_DS, 0, None),
        (0, MOV_DS, 3, None),
        (0, MOV_DS, sel::USER_DATA, None),
        (0, MOV_DS, sel::CODE_32, None),
        (0, MOV_DS, sel::BEYOND, Some((13, 0xa0))),
        (0, MOV_DS, sel::TSS, Some((13, 0x38))),
        (0, MOV_DS, sel::ABSENT_DATA, Some((11, 0x78))),
        (0, MOV_DS, sel::BEYOND | 4, Some((13, 0xa4))), // no LDT
        (3, MOV_DS, sel::DATA, Some((13, 0x10))),
        (3, MOV_ES, sel::CONFORMING_32, None),
        (3, MOV_ES, sel::USER_DATA, None),
        (0, MOV_SS, sel::DATA, None),
        (0, MOV_SS, 0, None),
        (0, MOV_SS, 3, Some((13, 0))),
        (3, MOV_SS, 3, Some((13, 0))),
        (0, MOV_SS, sel::USER_DATA, Some((13, 0x28))),
        (0, MOV_SS, sel::READ_ONLY, Some((13, 0x90))),
        (0, MOV_SS, sel::CODE_32, Some((13, 0x18))),
        (0, MOV_SS, sel::ABSENT_DATA, Some((12, 0x78))),
    ];
    for &(cpl, code, selector, fault) in table {
        let mut guest = Guest::long(cpl).with(Gpr::Rax, selector.into());
        // HLT is not for user code: it ends there in #GP(0) behind the load.
        let behind = if cpl == 0 { End::Halted } else { End::Vector(13) };
        let end = guest.run(code);
        match fault {
            None => {
                assert_eq!(end, behind, "{cpl} {code:02x?} {selector:#x}");
                if cpl == 3 {
                    assert_eq!(guest.frame_64::<2>(), [0, CODE + 2]);
                }
            }
            Some((vector, error)) => {
                assert_eq!(end, End::Vector(vector), "{cpl} {code:02x?} {selector:#x}");
                assert_eq!(guest.frame_64::<2>(), [error, CODE], "{code:02x?} {selector:#x}");
            }
        }
    }
    all_fault(|| Guest::long(0), 6, &[&[0x8e, 0xc8], &[0x8e, 0xf0]]);
}

#[test]
fn a_load_marks_the_descriptor_and_takes_its_base() {
    let mut guest = Guest::protected(0).with(Gpr::Rax, sel::DATA_16.into());
    guest.put_u64(GDT + 0x50, 0x1240_9234_5678_9abc);
    assert_eq!(guest.run(MOV_ES), End::Halted);
    assert_eq!(guest.get_u64(GDT + 0x50), 0x1240_9334_5678_9abc);
    let es = guest.segment(SegmentRegister::Es);
    assert_eq!((es.base, es.limit, es.access), (0x1234_5678, 0x0_9abc, 0x4093));
}

#[test]
fn real_mode_keeps_the_limit() {
    let big = Segment { limit: 0xffff_ffff, ..Segment::real(0) };
    let mut guest = Guest::real().with(Gpr::Rax, 0x1234).changed(|state| state.segments[3] = big);
    assert_eq!(guest.run(MOV_DS), End::Halted);
    assert_eq!(guest.segment(SegmentRegister::Ds), Segment { base: 0x1_2340, selector: 0x1234, ..big });
}

#[test]
fn pushes_and_pops_move_by_the_operand_size() {
    let mut guest = Guest::long(0);
    // push fs; pop gs; mov eax, gs; mov bx, fs
    let end = guest.run(&[0x0f, 0xa0, 0x0f, 0xa9, 0x8c, 0xe8, 0x66, 0x8c, 0xe3]);
    assert_eq!((end, guest.get(Gpr::Rsp)), (End::Halted, STACK));
    assert_eq!((guest.get(Gpr::Rax), guest.get(Gpr::Rbx)), (0x10, 0x10));
    assert_eq!(guest.get_u64(STACK - 8), 0x10);
    // A pop that faults leaves the pointer.
    let mut guest = Guest::long(0);
    assert_eq!(guest.run(&[0x6a, 0x38, 0x0f, 0xa1]), End::Vector(13)); // push 38h; pop fs
    let [_, _, _, _, rsp] = guest.frame_64();
    assert_eq!(rsp, STACK - 8);
}

#[test]
fn far_pointers_load_both_or_nothing() {
    // lfs ebx, [DATA]
    let code = &[0x0f, 0xb4, 0x1c, 0x25, 0, 0, 4, 0];
    let mut guest = Guest::long(0);
    guest.put(DATA, &[0x78, 0x56, 0x34, 0x12, 0x2b, 0]);
    assert_eq!(guest.run(code), End::Halted);
    assert_eq!(guest.get(Gpr::Rbx), 0x1234_5678);
    assert_eq!(guest.segment(SegmentRegister::Fs).selector, 0x2b);
    let mut guest = Guest::long(0).with(Gpr::Rbx, 7);
    guest.put(DATA, &[0x78, 0x56, 0x34, 0x12, 0x38, 0]);
    assert_eq!(guest.run(code), End::Vector(13));
    assert_eq!(guest.get(Gpr::Rbx), 7);
}

#[test]
fn the_task_register_marks_its_descriptor_busy() {
    let mut guest = Guest::long(0).with(Gpr::Rax, sel::TSS.into());
    guest.put_u64(GDT + 0x40, 0xffff_8000);
    assert_eq!(guest.run(&[0x0f, 0x00, 0xd8]), End::Halted);
    assert_eq!(guest.cpu.state.tr.base, 0xffff_8000_0000_b000);
    assert_eq!(guest.cpu.state.tr.access, 0x8b);
    assert_eq!(guest.get_u64(GDT + 0x38) >> 40 & 0xff, 0x8b);
    // A busy one, a null one, a wrong one, at the wrong level, in the wrong mode.
    assert_eq!(guest.cpu.state.events.activity, x86::Activity::Halted);
    let busy = || {
        let mut guest = Guest::long(0).with(Gpr::Rax, sel::TSS.into());
        guest.put(GDT + 0x3d, &[0x8b]);
        guest
    };
    all_fault(busy, 13, &[&[0x0f, 0x00, 0xd8]]);
    all_fault(|| Guest::long(0), 13, &[&[0x31, 0xc0, 0x0f, 0x00, 0xd8][2..]]);
    all_fault(|| Guest::long(0).with(Gpr::Rax, sel::DATA.into()), 13, &[&[0x0f, 0x00, 0xd8]]);
    all_fault(|| Guest::long(3), 13, &[&[0x0f, 0x00, 0xd8], &[0x0f, 0x00, 0xd0]]);
}

#[test]
fn the_local_table_serves_its_selectors() {
    // lldt ax; mov es, bx
    let mut guest = Guest::long(0).with(Gpr::Rax, sel::LDT.into()).with(Gpr::Rbx, 0xc);
    guest.put_u64(0xc008, 0x00cf_9200_0000_ffff);
    assert_eq!(guest.run(&[0x0f, 0x00, 0xd0, 0x8e, 0xc3]), End::Halted);
    assert_eq!(guest.cpu.state.ldtr.base, 0xc000);
    assert_eq!(guest.segment(SegmentRegister::Es).selector, 0xc);
}

#[test]
fn table_registers_load_and_store() {
    // lgdt [DATA]; sgdt [DATA + 16]
    let mut guest = Guest::long(0);
    guest.put(DATA, &[0x7f, 0, 0, 0, 1, 0, 0, 0x80, 0xff, 0xff]);
    let code = &[0x0f, 0x01, 0x14, 0x25, 0, 0, 4, 0, 0x0f, 0x01, 0x04, 0x25, 16, 0, 4, 0];
    assert_eq!(guest.run(code), End::Halted);
    assert_eq!(guest.cpu.state.gdtr, TableRegister { base: 0xffff_8000_0001_0000, limit: 0x7f });
    assert_eq!(guest.get_u64(DATA + 18), 0xffff_8000_0001_0000);
    // Not canonical.
    let bad = || {
        let mut guest = Guest::long(0);
        guest.put(DATA, &[0x7f, 0, 0, 0, 1, 0, 0, 0x80, 0xff, 0x7f]);
        guest
    };
    all_fault(bad, 13, &[&code[..8]]);
    // UMIP hides the registers from user code.
    let umip = || Guest::long(3).changed(|state| state.cr4 |= cr4::UMIP);
    let stores: &[&[u8]] = &[&code[8..], &[0x0f, 0x00, 0xc0], &[0x0f, 0x00, 0xc8], &[0x0f, 0x01, 0xe0]];
    all_fault(umip, 13, stores);
    // In 16-bit operand size 24 bits of the base count.
    let mut guest = Guest::protected(0);
    guest.put(DATA, &[0xff, 0, 0x44, 0x33, 0x22, 0x11]);
    assert_eq!(guest.run(&[0x66, 0x0f, 0x01, 0x1d, 0, 0, 4, 0]), End::Halted);
    assert_eq!(guest.cpu.state.idtr, TableRegister { base: 0x22_3344, limit: 0xff });
}

#[test]
fn questions_are_answered_in_zf() {
    let lar: &[u8] = &[0x0f, 0x02, 0xd8]; // lar ebx, eax
    let lsl: &[u8] = &[0x0f, 0x03, 0xd8];
    let verr: &[u8] = &[0x0f, 0x00, 0xe0];
    let verw: &[u8] = &[0x0f, 0x00, 0xe8];
    let table: &[(u8, &[u8], u16, Option<u64>)] = &[
        (0, lar, sel::DATA, Some(0x00cf_9200)),
        (0, lar, sel::TSS, Some(0x0000_8900)),
        (0, lar, sel::BEYOND, None),
        (0, lar, 0, None),
        (0, lsl, sel::DATA, Some(0xffff_ffff)),
        (0, lsl, sel::DATA_16, Some(0xffff)),
        (0, lsl, sel::TSS, Some(0x80)),
        (0, lsl, sel::CALL_GATE_64, None),
        (3, lsl, sel::DATA, None),
        (3, lar, sel::CONFORMING_32, Some(0x00cf_9e00)),
        (0, verr, sel::CODE_32, Some(7)),
        (0, verw, sel::CODE_32, None),
        (0, verw, sel::DATA, Some(7)),
        (0, verw, sel::READ_ONLY, None),
        (3, verr, sel::DATA, None),
    ];
    for &(cpl, code, selector, answer) in table {
        let mut guest = Guest::long(cpl).with(Gpr::Rax, selector.into()).with(Gpr::Rbx, 7);
        guest.run(code);
        let flags_then = if cpl == 0 { guest.cpu.rflags() } else { guest.frame_64::<4>()[3] };
        assert_eq!(flags_then & flags::ZF != 0, answer.is_some(), "{cpl} {code:02x?} {selector:#x}");
        assert_eq!(guest.get(Gpr::Rbx), answer.unwrap_or(7), "{cpl} {code:02x?} {selector:#x}");
    }
    // arpl ax, bx
    let mut guest = Guest::protected(0).with(Gpr::Rax, 0x10).with(Gpr::Rbx, 3);
    assert_eq!(guest.run(&[0x63, 0xd8]), End::Halted);
    assert_eq!((guest.get(Gpr::Rax), guest.cpu.rflags() & flags::ZF), (0x13, flags::ZF));
    all_fault_real(&[lar, verr, &[0x0f, 0x00, 0xd8], &[0x0f, 0x00, 0xc0]]);
}

/// Real mode does not know these.
fn all_fault_real(codes: &[&[u8]]) {
    for code in codes {
        assert_eq!(Guest::real().run(code), End::Vector(6), "{code:02x?}");
    }
}

#[test]
fn bases_of_fs_and_gs_are_64_bits() {
    let on = || Guest::long(0).changed(|state| state.cr4 |= cr4::FSGSBASE);
    // wrgsbase rax; swapgs; rdgsbase rbx
    let code = &[0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xcb];
    let mut guest = on().with(Gpr::Rax, 0xffff_8000_1234_5678).changed(|s| s.msrs.kernel_gs_base = 5);
    assert_eq!(guest.run(code), End::Halted);
    assert_eq!((guest.get(Gpr::Rbx), guest.cpu.state.msrs.kernel_gs_base), (5, 0xffff_8000_1234_5678));
    all_fault(|| on().with(Gpr::Rax, 1 << 47), 13, &[&code[..5]]);
    all_fault(|| Guest::long(0), 6, &[&code[..5], &code[8..]]);
    all_fault(|| Guest::long(3), 13, &[&code[5..8]]);
    assert_eq!(guest.segment(SegmentRegister::Gs).access & access::PRESENT, access::PRESENT);
}
