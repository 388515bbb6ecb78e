//! What control registers and modes allow, and code that is not 64-bit.

use iced_x86::{Code, CpuidFeature, Instruction, MemoryOperand, Register};
use x86::control::{cr0, cr4};
use x86::{Vector, xfeature};

use super::{DATA, cpu, cpu_32, exception};
use crate::simd::host_offers;

const UD: Vector = Vector::InvalidOpcode;
const NM: Vector = Vector::DeviceNotAvailable;

fn x87() -> Instruction {
    Instruction::with(Code::Fld1)
}

fn mmx() -> Instruction {
    Instruction::with2(Code::Pxor_mm_mmm64, Register::MM1, Register::MM2).unwrap()
}

fn sse() -> Instruction {
    Instruction::with2(Code::Paddb_xmm_xmmm128, Register::XMM1, Register::XMM2).unwrap()
}

fn avx() -> Instruction {
    Instruction::with3(Code::VEX_Vpaddb_xmm_xmm_xmmm128, Register::XMM1, Register::XMM2, Register::XMM3)
        .unwrap()
}

#[test]
fn task_switched_holds_off_all_and_emulation_all_but_avx() {
    let all = [
        x87(),
        mmx(),
        sse(),
        Instruction::with1(Code::Fxsave_m512byte, MemoryOperand::with_displ(DATA, 8)).unwrap(),
    ];
    for (instruction, em) in all.into_iter().zip([NM, UD, UD, NM]) {
        let mut cpu = cpu();
        cpu.run(instruction).unwrap();
        cpu.state.cr0 |= cr0::TS;
        assert_eq!(cpu.run(instruction), exception(NM), "{instruction:?}");
        cpu.state.cr0 |= cr0::EM;
        assert_eq!(cpu.run(instruction), exception(em), "{instruction:?}");
    }
}

#[test]
fn sse_wants_osfxsr_and_avx_wants_xcr0() {
    let mut cpu = cpu();
    if host_offers(CpuidFeature::AVX) {
        cpu.run(avx()).unwrap();
        cpu.state.xcr0 &= !xfeature::AVX;
        assert_eq!(cpu.run(avx()), exception(UD));
        cpu.state.xcr0 |= xfeature::AVX;
        cpu.state.cr4 &= !cr4::OSXSAVE;
        assert_eq!(cpu.run(avx()), exception(UD));
        cpu.state.cr0 |= cr0::TS;
        assert_eq!(cpu.run(avx()), exception(UD), "#UD comes before #NM");
        cpu.state.cr0 &= !cr0::TS;
    }
    cpu.state.cr4 &= !cr4::OSFXSR;
    assert_eq!(cpu.run(sse()), exception(UD));
    cpu.run(mmx()).unwrap();
}

#[test]
fn fwait_heeds_mp_and_ts_together() {
    let mut cpu = cpu();
    cpu.state.cr0 = cpu.state.cr0 & !cr0::MP | cr0::TS | cr0::EM;
    cpu.run(Instruction::with(Code::Wait)).unwrap();
    cpu.state.cr0 |= cr0::MP;
    assert_eq!(cpu.run(Instruction::with(Code::Wait)), exception(NM));
}

#[test]
fn an_old_system_gets_no_avx() {
    let mut cpu = cpu_32();
    if host_offers(CpuidFeature::AVX) {
        cpu.run(avx()).unwrap();
        cpu.state.cr0 &= !cr0::PE;
        cpu.refresh();
        assert_eq!(cpu.run(avx()), exception(UD));
    }
}

#[test]
fn code_of_32_bits_runs_the_same_stubs() {
    let mut cpu = cpu_32();
    let memory = MemoryOperand::with_displ(DATA, 4);
    cpu.poke(DATA, 2.5f64.to_le_bytes());
    cpu.state.fpu.legacy.xmm[1] = 1.5f64.to_bits().into();
    cpu.run(Instruction::with2(Code::Addsd_xmm_xmmm64, Register::XMM1, memory).unwrap()).unwrap();
    cpu.run(Instruction::with2(Code::Cvttsd2si_r32_xmmm64, Register::EDX, Register::XMM1).unwrap()).unwrap();
    assert_eq!(cpu.gpr[2], 4);
    cpu.run(Instruction::with1(Code::Fld_m64fp, memory).unwrap()).unwrap();
    cpu.run(Instruction::with1(Code::Fistp_m32int, memory).unwrap()).unwrap();
    assert_eq!(cpu.peek(DATA), 2u32.to_le_bytes());
    cpu.run(Instruction::with2(Code::Movd_rm32_xmm, Register::EAX, Register::XMM1).unwrap()).unwrap();
    assert_eq!(cpu.gpr[0], 4.0f64.to_bits() & 0xffff_ffff);
}

#[test]
fn vzeroall_clears_the_registers_that_the_mode_has() {
    if !host_offers(CpuidFeature::AVX) {
        return;
    }
    for (mut cpu, count) in [(cpu(), 16), (cpu_32(), 8)] {
        cpu.state.fpu.legacy.xmm = [1; 16];
        cpu.state.fpu.ymm_high = [1; 16];
        cpu.run(Instruction::with(Code::VEX_Vzeroupper)).unwrap();
        let cleared = |n: usize| u128::from(n >= count);
        assert_eq!(cpu.state.fpu.ymm_high, std::array::from_fn(cleared));
        assert_eq!(cpu.state.fpu.legacy.xmm, [1; 16]);
        cpu.run(Instruction::with(Code::VEX_Vzeroall)).unwrap();
        assert_eq!(cpu.state.fpu.legacy.xmm, std::array::from_fn(cleared));
    }
}

#[test]
fn nothing_but_these_families_reaches_a_stub() {
    use iced_x86::Mnemonic;
    for code in Code::values().filter(|code| code.op_code().is_instruction() && code.op_code().mode64()) {
        let mut instruction = Instruction::default();
        instruction.set_code(code);
        if !code.cpuid_features().iter().all(|&feature| host_offers(feature)) {
            assert!(crate::simd::plan::Plan::of(&instruction).is_none(), "{code:?}");
        }
        let system =
            [Mnemonic::In, Mnemonic::Out, Mnemonic::Syscall, Mnemonic::Mov, Mnemonic::Rdtsc, Mnemonic::Hlt];
        if system.contains(&code.mnemonic()) {
            assert!(!code.cpuid_features().iter().all(|&feature| host_offers(feature)), "{code:?}");
        }
    }
}
