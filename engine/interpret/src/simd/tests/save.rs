//! FXSAVE, XSAVE and the registers that govern them: faults, modes, initial states. (What they move is compared
//! with the host's own in `differential`.)

use iced_x86::{Code, CpuidFeature, Instruction, MemoryOperand};
use x86::control::cr4;
use x86::{Exception, Fpu, Gpr, Vector, page_fault, xfeature};

use super::{ABSENT, DATA, Numbers, cpu, cpu_32, exception};
use crate::cpu::Cpu;
use crate::system;

const GP: Result<(), Exception> = Err(Exception::gp(0));

fn at(code: Code, address: u64) -> Instruction {
    Instruction::with1(code, MemoryOperand::with_displ(address, 4)).unwrap()
}

/// A CPU whose whole extended state is in use, asking for all components; `None` without AVX.
fn busy() -> Option<Cpu> {
    let mut cpu = cpu();
    let mut numbers = Numbers(99);
    let fpu = &mut cpu.state.fpu;
    fpu.legacy.xmm = std::array::from_fn(|_| numbers.wide());
    fpu.ymm_high = std::array::from_fn(|_| numbers.wide());
    fpu.legacy.st = std::array::from_fn(|_| numbers.wide() >> 48);
    (fpu.legacy.fsw, fpu.legacy.ftw, fpu.legacy.mxcsr) = (0x1800, 0x3c, 0x9fa1);
    (fpu.legacy.fip, fpu.legacy.fdp, fpu.legacy.fop) = (0xffff_8000_1234_5678, 0x7fff_1234_5678, 0x5a5);
    cpu.set(Gpr::Rax, u64::MAX);
    cpu.set(Gpr::Rdx, u64::MAX);
    system::offers(&cpu.model, CpuidFeature::AVX).then_some(cpu)
}

#[test]
fn fxsave_round_trips_with_its_pointers() {
    let Some(mut cpu) = busy() else { return };
    let before = cpu.state.fpu;
    cpu.run(at(Code::Fxsave64_m512byte, DATA)).unwrap();
    let image: [u8; 512] = cpu.peek(DATA);
    assert_eq!(image[8..16], 0xffff_8000_1234_5678u64.to_le_bytes());
    assert_eq!(image[28..32], 0xffffu32.to_le_bytes());
    assert_eq!(image[416..], [0; 96], "the end is software's");
    cpu.state.fpu = Fpu { ymm_high: before.ymm_high, ..Fpu::default() };
    cpu.run(at(Code::Fxrstor64_m512byte, DATA)).unwrap();
    assert_eq!(cpu.state.fpu, before);
    // Without REX.W the pointers have 32 bits, and selectors read as zero.
    cpu.run(at(Code::Fxsave_m512byte, DATA)).unwrap();
    assert_eq!(cpu.peek::<16>(DATA + 8), *b"\x78\x56\x34\x12\0\0\0\0\x78\x56\x34\x12\0\0\0\0");
}

#[test]
fn fxsave_elsewhere_than_in_64_bit_code_has_eight_registers() {
    let mut cpu = cpu_32();
    cpu.state.fpu.legacy.xmm = [u128::MAX; 16];
    cpu.run(at(Code::Fxsave_m512byte, DATA)).unwrap();
    let image: [u8; 512] = cpu.peek(DATA);
    assert!(image[160..288].iter().all(|&byte| byte == 0xff) && image[288..].iter().all(|&byte| byte == 0));
    cpu.poke(DATA + 160, [0; 352]);
    cpu.run(at(Code::Fxrstor_m512byte, DATA)).unwrap();
    assert_eq!(cpu.state.fpu.legacy.xmm, std::array::from_fn(|n| if n < 8 { 0 } else { u128::MAX }));
}

#[test]
fn alignment_reserved_bits_and_absent_pages_fault_before_anything_moves() {
    let Some(mut cpu) = busy() else { return };
    let before = cpu.state.fpu;
    for (code, address) in [
        (Code::Fxsave64_m512byte, DATA + 8),
        (Code::Fxrstor_m512byte, DATA + 8),
        (Code::Xsave_mem, DATA + 32),
        (Code::Xrstor_mem, DATA + 32),
    ] {
        assert_eq!(cpu.run(at(code, address)), GP, "{code:?}");
    }
    for (code, back) in [
        (Code::Fxsave64_m512byte, 16),
        (Code::Xsave64_mem, 64),
        (Code::Xsave_mem, 768),
        (Code::Xsavec_mem, 576),
    ] {
        // Which address is found first is up to the CPU.
        let fault = cpu.run(at(code, ABSENT - back)).unwrap_err();
        let absent = Exception::page_fault(fault.payload, page_fault::WRITE);
        assert_eq!((fault, fault.payload & !0xfff), (absent, ABSENT), "{code:?}");
        assert_eq!(cpu.peek(ABSENT - back), [0; 16]);
    }
    cpu.poke(DATA + 24, 0x1_0000u32.to_le_bytes());
    assert_eq!(cpu.run(at(Code::Fxrstor64_m512byte, DATA)), GP);
    assert_eq!(cpu.run(at(Code::Xrstor64_mem, DATA)), GP);
    assert_eq!(cpu.state.fpu, before);
}

#[test]
fn xsave_and_xrstor_round_trip_in_both_formats() {
    for save in [Code::Xsave64_mem, Code::Xsaveopt64_mem, Code::Xsavec64_mem] {
        let Some(mut cpu) = busy() else { return };
        let before = cpu.state.fpu;
        cpu.run(at(save, DATA)).unwrap();
        assert_eq!(cpu.peek(DATA + 512), 7u64.to_le_bytes());
        cpu.state.fpu = Fpu::default();
        cpu.run(at(Code::Xrstor64_mem, DATA)).unwrap();
        assert_eq!(cpu.state.fpu, before, "{save:?}");
    }
}

#[test]
fn xsave_keeps_the_header_bits_of_what_it_was_not_asked_for() {
    let Some(mut cpu) = busy() else { return };
    cpu.poke(DATA + 512, [0xfe]);
    cpu.set(Gpr::Rax, xfeature::X87 | xfeature::AVX);
    cpu.state.fpu.ymm_high = [0; 16];
    cpu.poke(DATA + 160, [0x55; 256]);
    cpu.run(at(Code::Xsave64_mem, DATA)).unwrap();
    assert_eq!(cpu.peek(DATA + 512), [0xfb], "AVX is in its initial state");
    assert_eq!(cpu.peek(DATA + 160), [0x55; 256], "XMM was not asked for");
    assert_eq!(cpu.peek(DATA + 24), 0x9fa1u32.to_le_bytes(), "MXCSR comes with AVX too");
}

#[test]
fn components_in_their_initial_state_are_left_out_and_come_back_initial() {
    let Some(mut cpu) = busy() else { return };
    let busy = cpu.state.fpu;
    cpu.state.fpu = Fpu::default();
    cpu.poke(DATA, [0x55; 832]);
    cpu.run(at(Code::Xsavec64_mem, DATA)).unwrap();
    assert_eq!(cpu.peek(DATA + 512), 0u64.to_le_bytes());
    assert_eq!(cpu.peek(DATA + 520), (7u64 | 1 << 63).to_le_bytes());
    assert_eq!(cpu.peek(DATA), [0x55; 512]);
    cpu.poke(DATA + 528, [0; 48]);
    cpu.state.fpu = busy;
    cpu.run(at(Code::Xrstor64_mem, DATA)).unwrap();
    assert_eq!(cpu.state.fpu, Fpu::default());
    // MXCSR alone puts SSE in use for XSAVEC.
    cpu.state.fpu.legacy.mxcsr = 0x1f81;
    cpu.run(at(Code::Xsavec64_mem, DATA)).unwrap();
    assert_eq!(cpu.peek(DATA + 512), 2u64.to_le_bytes());
}

#[test]
fn xrstor_refuses_impossible_headers() {
    let words = |xstate: u64, xcomp: u64, rest: u64| [xstate, xcomp, rest].map(u64::to_le_bytes);
    let compacted = 1 << 63;
    for (header, good) in [
        (words(7, 0, 0), true),
        (words(8, 0, 0), false),
        (words(7, 1, 0), false),
        (words(7, 0, 1), false),
        (words(3, compacted | 3, 0), true),
        (words(7, compacted | 3, 0), false),
        (words(1, compacted | 9, 0), false),
        (words(3, compacted | 3, 1), false),
    ] {
        let Some(mut cpu) = busy() else { return };
        for (n, word) in header.into_iter().enumerate() {
            cpu.poke(DATA + 512 + 8 * n as u64, word);
        }
        let result = cpu.run(at(Code::Xrstor64_mem, DATA));
        assert_eq!(result, if good { Ok(()) } else { GP }, "{header:?}");
    }
}

#[test]
fn xsetbv_takes_only_what_makes_sense() {
    let Some(mut cpu) = busy() else { return };
    let set = Instruction::with(Code::Xsetbv);
    cpu.set(Gpr::Rdx, 0);
    cpu.set(Gpr::Rcx, 0);
    for (value, good) in [(1, true), (3, true), (7, true), (0, false), (2, false), (5, false), (0xf, false)] {
        cpu.set(Gpr::Rax, value);
        assert_eq!(cpu.run(set), if good { Ok(()) } else { GP }, "{value}");
    }
    cpu.run(Instruction::with(Code::Xgetbv)).unwrap();
    assert_eq!((cpu.get(Gpr::Rax), cpu.get(Gpr::Rdx)), (7, 0));
    cpu.set(Gpr::Rcx, 1);
    cpu.state.fpu.ymm_high = [0; 16];
    cpu.run(Instruction::with(Code::Xgetbv)).unwrap();
    assert_eq!(cpu.get(Gpr::Rax), 3, "those in use");
    cpu.set(Gpr::Rcx, 2);
    assert_eq!(cpu.run(Instruction::with(Code::Xgetbv)), GP);
    assert_eq!(cpu.run(set), GP);
    cpu.state.cr4 &= !cr4::OSXSAVE;
    for code in [Code::Xgetbv, Code::Xsetbv] {
        assert_eq!(cpu.run(Instruction::with(code)), exception(Vector::InvalidOpcode));
    }
    assert_eq!(cpu.run(at(Code::Xsave_mem, DATA)), exception(Vector::InvalidOpcode));
}
