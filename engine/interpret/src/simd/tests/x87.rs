//! The x87: pending errors, pointers, environments in every layout, MMX beside it.

use iced_x86::{Code, Instruction, MemoryOperand, Register};
use x86::control::cr0;
use x86::{Exception, SegmentRegister, Vector, page_fault};

use super::{ABSENT, CODE, DATA, cpu, cpu_32, exception};
use crate::cpu::Cpu;
use crate::simd::x87::Registers;

fn plain(code: Code) -> Instruction {
    Instruction::with(code)
}

fn data(code: Code) -> Instruction {
    Instruction::with1(code, MemoryOperand::with_displ(DATA, 4)).unwrap()
}

/// A CPU on which 1/0 has just been computed with division by zero unmasked.
fn divided_by_zero() -> Cpu {
    let mut cpu = cpu();
    cpu.poke(DATA, 0x37bu16.to_le_bytes());
    for instruction in [plain(Code::Fninit), data(Code::Fldcw_m2byte), plain(Code::Fld1), plain(Code::Fldz)] {
        cpu.run(instruction).unwrap();
    }
    cpu.run(Instruction::with2(Code::Fdiv_sti_st0, Register::ST1, Register::ST0).unwrap()).unwrap();
    cpu
}

#[test]
fn an_unmasked_error_is_raised_by_the_next_instruction_that_waits() {
    let mut cpu = divided_by_zero();
    assert_eq!(cpu.state.fpu.legacy.fsw & 0x80ff, 0x8084);
    let mf = exception(Vector::X87Error);
    let pxor = Instruction::with2(Code::Pxor_mm_mmm64, Register::MM0, Register::MM0).unwrap();
    for waits in [plain(Code::Fld1), plain(Code::Wait), pxor, plain(Code::Emms), data(Code::Fldenv_m28byte)] {
        assert_eq!(cpu.run(waits), mf, "{waits:?}");
    }
    for code in [Code::Fnstcw_m2byte, Code::Fnstsw_m2byte] {
        cpu.run(data(code)).unwrap();
    }
    cpu.run(plain(Code::Fnclex)).unwrap();
    cpu.run(plain(Code::Wait)).unwrap();
    assert_eq!(cpu.state.fpu.legacy.fsw & 0x80ff, 0);
}

#[test]
fn unmasking_an_old_error_makes_it_pending_and_fnstenv_masks_it() {
    let mut cpu = divided_by_zero();
    cpu.run(data(Code::Fnstenv_m28byte)).unwrap();
    assert_eq!((cpu.state.fpu.legacy.fcw, cpu.state.fpu.legacy.fsw & 0x80ff), (0x37f, 4));
    cpu.run(plain(Code::Fld1)).unwrap();
    cpu.poke(DATA, 0x37bu16.to_le_bytes());
    cpu.run(data(Code::Fldcw_m2byte)).unwrap();
    assert_eq!(cpu.run(plain(Code::Fld1)), exception(Vector::X87Error));
}

#[test]
fn a_store_that_an_unmasked_error_prevents_faults_all_the_same() {
    let mut cpu = cpu();
    cpu.poke(DATA, 0x37eu16.to_le_bytes());
    cpu.run(plain(Code::Fninit)).unwrap();
    cpu.run(data(Code::Fldcw_m2byte)).unwrap();
    // The stack is empty: an invalid operation.
    let store = |at| Instruction::with1(Code::Fistp_m16int, MemoryOperand::with_displ(at, 8)).unwrap();
    assert_eq!(cpu.run(store(ABSENT)), Err(Exception::page_fault(ABSENT, page_fault::WRITE)));
    assert_eq!(cpu.state.fpu.legacy.fsw & 0xff, 0);
    cpu.run(store(DATA)).unwrap();
    assert_eq!(cpu.state.fpu.legacy.fsw & 0x80ff, 0x80c1);
    assert_eq!(cpu.peek(DATA), 0x37eu16.to_le_bytes(), "nothing is stored");
}

#[test]
fn fninit_gives_what_systems_look_for() {
    let mut cpu = divided_by_zero();
    cpu.run(plain(Code::Fninit)).unwrap();
    cpu.gpr[0] = u64::MAX;
    cpu.run(Instruction::with1(Code::Fnstsw_AX, Register::AX).unwrap()).unwrap();
    assert_eq!(cpu.gpr[0], u64::MAX << 16);
    cpu.run(data(Code::Fnstcw_m2byte)).unwrap();
    assert_eq!(cpu.peek(DATA), 0x37fu16.to_le_bytes());
}

#[test]
fn the_pointers_are_the_guests() {
    let mut cpu = cpu();
    cpu.poke(DATA, 1.5f32.to_le_bytes());
    cpu.run(data(Code::Fld_m32fp)).unwrap();
    let legacy = &cpu.state.fpu.legacy;
    // FLD m32 with a 32-bit displacement: D9 04 25.
    assert_eq!((legacy.fip, legacy.fdp, legacy.fop), (CODE, DATA, 0x104));
    cpu.rip += 7;
    cpu.run(plain(Code::Fld1)).unwrap();
    let legacy = &cpu.state.fpu.legacy;
    assert_eq!((legacy.fip, legacy.fdp, legacy.fop), (CODE + 7, DATA, 0x1e8));
    cpu.rip += 2;
    cpu.run(data(Code::Fnstcw_m2byte)).unwrap();
    assert_eq!(cpu.state.fpu.legacy.fip, CODE + 7, "control instructions leave them");
}

#[test]
fn environments_round_trip_in_all_four_layouts() {
    type Pair = (Code, Code);
    let wide: [Pair; 2] =
        [(Code::Fnstenv_m28byte, Code::Fldenv_m28byte), (Code::Fnsave_m108byte, Code::Frstor_m108byte)];
    let narrow: [Pair; 2] =
        [(Code::Fnstenv_m14byte, Code::Fldenv_m14byte), (Code::Fnsave_m94byte, Code::Frstor_m94byte)];
    for real in [false, true] {
        for (save, restore) in wide.into_iter().chain(narrow) {
            let mut cpu = cpu_32();
            if real {
                cpu.state.cr0 &= !cr0::PE;
                cpu.refresh();
            }
            let legacy = &mut cpu.state.fpu.legacy;
            (legacy.fcw, legacy.fsw, legacy.ftw) = (0xf7f, 0x2d00, 0b1110_0001);
            legacy.st = std::array::from_fn(|n| (0x3fff << 64) | 1 << 63 | n as u128);
            let is_wide = wide.contains(&(save, restore));
            let has_opcode = is_wide || real;
            (legacy.fip, legacy.fdp) = if real { (0x1_2345, 0x6_789a) } else { (0x2345, 0x789a) };
            legacy.fop = if has_opcode { 0x7e5 } else { 0 };
            let before = *legacy;
            cpu.run(data(save)).unwrap();
            let image: [u8; 108] = cpu.peek(DATA);
            // The control word, then the tags: 0, 5, 6 and 7 are in use and valid.
            assert_eq!(image[..2], [0x7f, 0x0f]);
            assert_eq!(image[if is_wide { 8..10 } else { 4..6 }], [0xfc, 0x03]);
            cpu.run(plain(Code::Fninit)).unwrap();
            cpu.run(data(restore)).unwrap();
            let after = cpu.state.fpu.legacy;
            assert_eq!(after, before, "{save:?} and {restore:?}, real mode {real}");
        }
    }
}

#[test]
fn real_mode_pointers_are_linear() {
    let mut cpu = cpu_32();
    cpu.state.cr0 &= !cr0::PE;
    cpu.state.segment_mut(SegmentRegister::Cs).base = 0x2_0000;
    cpu.state.segment_mut(SegmentRegister::Ds).base = 0x1_0000;
    cpu.refresh();
    let load = Instruction::with1(Code::Fld_m32fp, MemoryOperand::with_displ(DATA - 0x1_0000, 4)).unwrap();
    cpu.run(load).unwrap();
    assert_eq!((cpu.state.fpu.legacy.fip, cpu.state.fpu.legacy.fdp), (0x2_0000 + CODE, DATA));
}

#[test]
fn mmx_sees_physical_registers_and_ends_the_stack() {
    let mut cpu = cpu();
    for code in [Code::Fninit, Code::Fld1, Code::Fldz, Code::Fldpi] {
        cpu.run(plain(code)).unwrap();
    }
    assert_eq!(cpu.state.fpu.legacy.top(), 5);
    // ST(0) is physical register 5.
    cpu.run(Instruction::with2(Code::Movq_rm64_mm, Register::RAX, Register::MM5).unwrap()).unwrap();
    assert_eq!(cpu.gpr[0], 0xc90f_daa2_2168_c235);
    let legacy = &cpu.state.fpu.legacy;
    assert_eq!((legacy.top(), legacy.ftw, legacy.st[5] as u64), (0, 0xff, 0xc90f_daa2_2168_c235));
    cpu.gpr[0] = 7;
    cpu.run(Instruction::with2(Code::Movq_mm_rm64, Register::MM2, Register::RAX).unwrap()).unwrap();
    assert_eq!(cpu.state.fpu.legacy.st[2], 0xffff << 64 | 7);
    cpu.run(plain(Code::Emms)).unwrap();
    assert_eq!(cpu.state.fpu.legacy.ftw, 0);
    // With its operand in memory this one does not enter MMX.
    cpu.run(plain(Code::Fld1)).unwrap();
    let convert =
        Instruction::with2(Code::Cvtpi2pd_xmm_mmm64, Register::XMM1, MemoryOperand::with_displ(DATA, 8));
    cpu.run(convert.unwrap()).unwrap();
    assert_eq!(cpu.state.fpu.legacy.top(), 7);
}
