//! Unmasked SIMD exceptions. The expected flags are what an AMD Zen 4 leaves when it traps.

use iced_x86::{Code, Instruction, MemoryOperand, Register};
use x86::Vector;
use x86::control::cr4;

use super::{ABSENT, DATA, READ_ONLY, cpu, exception};

const MULPS: Code = Code::Mulps_xmm_xmmm128;
const DIVPS: Code = Code::Divps_xmm_xmmm128;

/// Four floats as a register, the first one lowest.
fn floats(values: [f32; 4]) -> u128 {
    values.into_iter().rev().fold(0, |all, value| all << 32 | u128::from(value.to_bits()))
}

/// Runs it on XMM1 and XMM2 with this MXCSR; gives whether it trapped, and MXCSR afterwards.
fn run(code: Code, mxcsr: u32, a: [f32; 4], b: [f32; 4]) -> (bool, u32) {
    let mut cpu = cpu();
    cpu.state.fpu.legacy.mxcsr = mxcsr;
    cpu.state.fpu.legacy.xmm[1] = floats(a);
    cpu.state.fpu.legacy.xmm[2] = floats(b);
    let result = cpu.run(Instruction::with2(code, Register::XMM1, Register::XMM2).unwrap());
    if result.is_err() {
        assert_eq!(result, exception(Vector::SimdError));
        assert_eq!(cpu.state.fpu.legacy.xmm[1], floats(a), "the destination changed");
    }
    (result.is_err(), cpu.state.fpu.legacy.mxcsr)
}

#[test]
fn underflow_is_reported_for_exact_results_only_if_unmasked() {
    let (smallest, half) = ([f32::MIN_POSITIVE, 1., 1., 1.], [0.5, 1., 1., 1.]);
    assert_eq!(run(MULPS, 0x1f80, smallest, half), (false, 0x1f80));
    assert_eq!(run(MULPS, 0x1780, smallest, half), (true, 0x1790));
    assert_eq!(run(MULPS, 0x0000, smallest, half), (true, 0x0010));
    let (small, third) = ([f32::from_bits(0x0081_2345), 1., 1., 1.], [1. / 3., 1., 1., 1.]);
    assert_eq!(run(MULPS, 0x1780, small, third), (true, 0x17b0));
    assert_eq!(run(MULPS, 0x9780, small, third), (true, 0x97b0));
    assert_eq!(run(MULPS, 0x0f80, small, third), (true, 0x0fb0));
}

#[test]
fn errors_found_beforehand_hide_those_of_the_result() {
    // 1/3 is inexact, 3/7 too, 0/0 invalid, 1/0 a division by zero.
    let (a, b) = ([1., 3., 0., 1.], [3., 7., 0., 0.]);
    assert_eq!(run(DIVPS, 0x1d80, a, b), (true, 0x1d85));
    assert_eq!(run(DIVPS, 0x1f00, a, b), (true, 0x1f05));
    assert_eq!(run(DIVPS, 0x0f80, a, b), (true, 0x0fa5));
    assert_eq!(run(DIVPS, 0x0000, a, b), (true, 0x0005));
    assert_eq!(run(DIVPS, 0x0d80, a, b), (true, 0x0d85));
    let (a, b) = ([f32::from_bits(1), 3., 1., 1.], [3., 7., 1., 0.]);
    assert_eq!(run(DIVPS, 0x1e80, a, b), (true, 0x1e86));
    assert_eq!(run(DIVPS, 0x0f80, a, b), (true, 0x0fb6));
}

#[test]
fn overflow_and_old_flags() {
    let huge = [3e38, 1., 1., 1.];
    assert_eq!(run(MULPS, 0x1b80, huge, huge), (true, 0x1ba8));
    assert_eq!(run(MULPS, 0x0f80, huge, huge), (true, 0x0fa8));
    // A flag that is up already traps nothing, masked or not.
    assert_eq!(run(MULPS, 0x0fa0, [1.; 4], [1.; 4]), (false, 0x0fa0));
}

#[test]
fn a_system_that_does_not_handle_them_gets_an_undefined_opcode() {
    let mut cpu = cpu();
    cpu.state.cr4 &= !cr4::OSXMMEXCPT;
    cpu.state.fpu.legacy.mxcsr = 0;
    cpu.state.fpu.legacy.xmm[1] = floats([1.; 4]);
    let division = Instruction::with2(DIVPS, Register::XMM1, Register::XMM2).unwrap();
    assert_eq!(cpu.run(division), exception(Vector::InvalidOpcode));
    assert_eq!(cpu.state.fpu.legacy.mxcsr, 4);
}

#[test]
fn a_store_that_faults_leaves_the_flags_alone() {
    use iced_x86::CpuidFeature::F16C;
    if !crate::simd::host_offers(F16C) {
        return;
    }
    for (at, faults) in [(DATA, false), (READ_ONLY, true), (ABSENT, true), (ABSENT - 4, true)] {
        let mut cpu = cpu();
        cpu.state.fpu.legacy.xmm[1] = floats([1. / 3.; 4]);
        let memory = MemoryOperand::with_displ(at, 8);
        let store =
            Instruction::with3(Code::VEX_Vcvtps2ph_xmmm64_xmm_imm8, memory, Register::XMM1, 0).unwrap();
        let before: [u8; 16] = cpu.peek(at & !15);
        let result = cpu.run(store);
        assert_eq!(result.is_err(), faults, "{result:?}");
        assert_eq!(cpu.state.fpu.legacy.mxcsr, if faults { 0x1f80 } else { 0x1fa0 });
        assert_eq!(cpu.peek::<16>(at & !15) == before, faults);
    }
}

#[test]
fn an_exact_denormal_half_is_an_underflow_if_unmasked() {
    use iced_x86::CpuidFeature::F16C;
    if !crate::simd::host_offers(F16C) {
        return;
    }
    // The smallest half is 2^-24; 1/3 of the smallest normal one is inexact besides.
    let (exact, inexact) = (f32::from_bits(0x3380_0000), 2f32.powi(-14) / 3.);
    let memory = MemoryOperand::with_displ(DATA, 8);
    let code = Code::VEX_Vcvtps2ph_xmmm64_xmm_imm8;
    let store = Instruction::with3(code, memory, Register::XMM1, 0).unwrap();
    let moved = Instruction::with3(code, Register::XMM2, Register::XMM1, 0).unwrap();
    for instruction in [store, moved] {
        for (value, mxcsr, after) in [
            (exact, 0x1f80, 0x1f80),
            (exact, 0x1780, 0x1790),
            (exact, 0x9780, 0x9790),
            (inexact, 0x1780, 0x17b0),
            (inexact, 0x1f80, 0x1fb0),
            (1., 0x1780, 0x1780),
        ] {
            let mut cpu = cpu();
            cpu.state.fpu.legacy.mxcsr = mxcsr;
            cpu.state.fpu.legacy.xmm[1] = floats([1., 2., value, 3.]);
            let traps = after & 0x10 != 0 && mxcsr & 0x800 == 0;
            assert_eq!(cpu.run(instruction), if traps { exception(Vector::SimdError) } else { Ok(()) });
            assert_eq!(cpu.state.fpu.legacy.mxcsr, after, "{value:e} under {mxcsr:#x}");
        }
    }
}

#[test]
fn mxcsr_takes_no_reserved_bits() {
    let mut cpu = cpu();
    let memory = MemoryOperand::with_displ(DATA, 8);
    cpu.poke(DATA, 0x1_1f80u32.to_le_bytes());
    let load = Instruction::with1(Code::Ldmxcsr_m32, memory).unwrap();
    assert_eq!(cpu.run(load), Err(x86::Exception::gp(0)));
    assert_eq!(cpu.state.fpu.legacy.mxcsr, 0x1f80);
    cpu.poke(DATA, 0xffc0u32.to_le_bytes());
    cpu.run(load).unwrap();
    assert_eq!(cpu.state.fpu.legacy.mxcsr, 0xffc0);
}
