//! Every instruction of these families that the host has, with random operands, here and directly on the host's CPU.

use iced_x86::{
    Code, CpuidFeature, EncodingKind, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register,
};
use x86::Legacy;
use x86::flags::STATUS;

use super::native::{self, GENERAL, MEMORY, Machine};
use super::{DATA, Numbers, cpu};
use crate::simd::{host_offers, mxcsr};

/// Random operands tried with each instruction.
const ROUNDS: usize = 10;

/// Does it belong to a family of ours that the host has, and fit this test?
fn is_ours(code: Code) -> bool {
    use Mnemonic::*;
    let features = code.cpuid_features();
    let x87 = features.contains(&CpuidFeature::FPU);
    matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && code.op_code().is_instruction()
        && !code.op_code().fwait()
        && code.op_code().mode64()
        && features.iter().all(|&feature| host_offers(feature) || x87 && feature == CpuidFeature::CMOV)
        && !matches!(
            code.mnemonic(),
            // RDI is taken; XCR0 is the host's.
            Maskmovq | Maskmovdqu | Vmaskmovdqu | Xgetbv | Xsetbv
            // Those of the integer family.
            | Prefetchnta | Prefetcht0 | Prefetcht1 | Prefetcht2 | Sfence | Lfence | Mfence | Movnti | Crc32
        )
}

/// The instruction with registers by chance, and its memory operand at [RSI] where it has the choice.
fn build(code: Code, memory: bool, numbers: &mut Numbers) -> Instruction {
    use OpCodeOperandKind as K;
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    // Vector registers differ where there is an index among them, as a gather demands.
    let first = numbers.next() >> 32;
    let is_gather = code.op_code().op_kinds().iter().any(|kind| is_vsib(*kind));
    let mut pick = |n: u32, count: u64| {
        if is_gather { (first + u64::from(n)) % count } else { (numbers.next() >> 32) % count }
    };
    for (n, kind) in (0..).zip(code.op_code().op_kinds()) {
        let register = match kind {
            K::xmm_or_mem | K::ymm_or_mem | K::mm_or_mem | K::r32_or_mem | K::r64_or_mem if memory => None,
            K::mem => None,
            K::mem_vsib32x | K::mem_vsib64x | K::mem_vsib32y | K::mem_vsib64y => {
                let wide = matches!(kind, K::mem_vsib32y | K::mem_vsib64y);
                let file = if wide { Register::YMM0 } else { Register::XMM0 };
                instruction.set_memory_index(file + pick(n, 16) as u32);
                instruction.set_memory_index_scale(4);
                None
            }
            K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 => {
                Some(Register::XMM0 + pick(n, 16) as u32)
            }
            K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 => {
                Some(Register::YMM0 + pick(n, 16) as u32)
            }
            K::mm_or_mem | K::mm_reg | K::mm_rm => Some(Register::MM0 + pick(n, 8) as u32),
            K::r32_or_mem | K::r32_reg | K::r32_rm => {
                Some(Register::EAX + GENERAL[pick(n, 13) as usize] as u32)
            }
            K::r64_or_mem | K::r64_reg | K::r64_rm => {
                Some(Register::RAX + GENERAL[pick(n, 13) as usize] as u32)
            }
            K::st0 => Some(Register::ST0),
            K::sti_opcode => Some(Register::ST0 + pick(n, 8) as u32),
            K::ax => Some(Register::AX),
            K::imm8 => {
                instruction.set_op_kind(n, OpKind::Immediate8);
                instruction.set_immediate8(pick(n, 256) as u8);
                continue;
            }
            other => panic!("{code:?}: operand {other:?}"),
        };
        match register {
            Some(register) => {
                instruction.set_op_kind(n, OpKind::Register);
                instruction.set_op_register(n, register);
            }
            None => {
                instruction.set_op_kind(n, OpKind::Memory);
                instruction.set_memory_base(Register::RSI);
            }
        }
    }
    instruction
}

fn is_vsib(kind: OpCodeOperandKind) -> bool {
    use OpCodeOperandKind as K;
    matches!(kind, K::mem_vsib32x | K::mem_vsib64x | K::mem_vsib32y | K::mem_vsib64y)
}

/// A vector of integers, or of floating-point numbers of all kinds.
fn wide(numbers: &mut Numbers) -> u128 {
    let raw = numbers.wide();
    match numbers.next() % 4 {
        0 => raw,
        // Numbers of similar size, so that sums are not just one of them.
        1 => raw & 0x803f_ffff_803f_ffff_803f_ffff_803f_ffff | 0x3f80_0000_3f80_0000_3f80_0000_3f80_0000,
        2 => raw & 0x800f_ffff_ffff_ffff_800f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000_3ff0_0000_0000_0000,
        // Zeroes, infinities, denormals.
        _ => raw & 0xff80_0000_ff80_0000_807f_ffff_fff0_0000,
    }
}

/// An x87 register: any bits, an ordinary number, or a special one.
fn register(numbers: &mut Numbers) -> u128 {
    let (significand, exponent) = (numbers.next(), numbers.next());
    let (significand, exponent) = match numbers.next() % 6 {
        0 => (significand, exponent),
        1 => (0, exponent & 0x8000),
        2 => (1 << 63, exponent & 0x8000 | 0x7fff),
        3 => (significand, exponent & 0x8000),
        4 => (significand >> 40 << 40 | 1 << 63, exponent & 0x8000 | (0x3ff8 + (exponent >> 20) % 16)),
        _ => (significand | 1 << 63, exponent & 0x803f | 0x3fe0),
    };
    u128::from(significand) | u128::from(exponent & 0xffff) << 64
}

/// Registers and memory by chance, such that the instruction does not fault.
fn machine(instruction: &Instruction, numbers: &mut Numbers) -> Machine {
    let mut machine = Machine {
        ymm: std::array::from_fn(|_| [wide(numbers), wide(numbers)]),
        gpr: std::array::from_fn(|_| numbers.next()),
        flags: numbers.next() & STATUS | 2,
        ..Machine::default()
    };
    for piece in machine.memory.chunks_exact_mut(16) {
        piece.copy_from_slice(&wide(numbers).to_le_bytes());
    }
    if numbers.next().is_multiple_of(2) {
        machine.memory[..16].copy_from_slice(&register(numbers).to_le_bytes());
    }
    // Any rounding, flushing and flags; no exception unmasked.
    machine.legacy.mxcsr = numbers.next() as u32 & 0xe07f | 0x1f80;
    let x87 = &mut machine.legacy;
    // Any masks, precision, rounding; no unmasked error pending.
    x87.fcw = numbers.next() as u16 & 0x1f3f | 0x40;
    x87.fsw = numbers.next() as u16 & 0x7f7f & !(!x87.fcw & 0x3f);
    x87.ftw = if numbers.next().is_multiple_of(2) { 0xff } else { numbers.next() as u8 };
    x87.st = std::array::from_fn(|_| register(numbers));
    prepare(instruction, &mut machine, numbers);
    machine
}

/// What some instructions demand of their operands.
fn prepare(instruction: &Instruction, machine: &mut Machine, numbers: &mut Numbers) {
    use Mnemonic::*;
    let legal = mxcsr::ALL as u16;
    match instruction.mnemonic() {
        Ldmxcsr | Vldmxcsr => machine.memory[2..4].fill(0),
        Fxrstor | Fxrstor64 | Xrstor | Xrstor64 => {
            machine.memory[24..26].copy_from_slice(&(numbers.next() as u16 & legal).to_le_bytes());
            machine.memory[26..28].fill(0);
        }
        _ => {}
    }
    let xsave = [Xsave, Xsave64, Xsaveopt, Xsaveopt64, Xsavec, Xsavec64, Xrstor, Xrstor64];
    if xsave.contains(&instruction.mnemonic()) {
        // Components 0 to 2, in a header of either format.
        (machine.gpr[0], machine.gpr[2]) = (numbers.next() % 8, 0);
        machine.memory[512..576].fill(0);
        let compacted = numbers.next().is_multiple_of(2);
        let all = if compacted { numbers.next() % 8 } else { 7 };
        machine.memory[512] = (numbers.next() & all) as u8;
        if compacted {
            machine.memory[520..528].copy_from_slice(&(all | 1 << 63).to_le_bytes());
        }
    }
    if instruction.is_vsib() {
        // Small indexes.
        let n = instruction.memory_index().number();
        let mask = if instruction.is_vsib32() { 0x7f_0000_007f } else { 0x7f };
        machine.ymm[n] = machine.ymm[n].map(|half| half & (mask | mask << 64));
    }
}

/// Memory without what CPUs differ in: the x87 pointers, which some keep only with an error, and MXCSR_MASK.
fn comparable(mnemonic: Mnemonic, mut memory: [u8; MEMORY], wide: bool) -> [u8; MEMORY] {
    use Mnemonic::*;
    match mnemonic {
        Fxsave | Fxsave64 | Xsave | Xsave64 | Xsaveopt | Xsaveopt64 | Xsavec | Xsavec64 => {
            memory[6..24].fill(0);
            memory[28..32].fill(0);
        }
        Fnstenv | Fnsave => memory[if wide { 12..28 } else { 6..14 }].fill(0),
        _ => {}
    }
    memory
}

/// The x87 state without its pointers.
fn x87(legacy: &Legacy) -> (u16, u16, u8, [u128; 8]) {
    (legacy.fcw, legacy.fsw, legacy.ftw, legacy.st)
}

fn check(code: Code, memory: bool, numbers: &mut Numbers) {
    let instruction = build(code, memory, numbers);
    let mut machine = machine(&instruction, numbers);
    let mut cpu = cpu();
    cpu.gpr[..16].copy_from_slice(&machine.gpr);
    cpu.gpr[6] = DATA;
    cpu.set_rflags(machine.flags);
    cpu.state.fpu.legacy = machine.legacy;
    for (n, [low, high]) in machine.ymm.into_iter().enumerate() {
        (cpu.state.fpu.legacy.xmm[n], cpu.state.fpu.ymm_high[n]) = (low, high);
    }
    cpu.poke(DATA, machine.memory);
    let before = machine.clone();
    native::run(&instruction, &mut machine);
    cpu.run(instruction).unwrap_or_else(|error| panic!("{code:?}: {error:?}"));
    let about = || format!("{code:?}: {instruction:?} on {before:#x?}");
    let fpu = &cpu.state.fpu;
    let ymm: [_; 16] = std::array::from_fn(|n| [fpu.legacy.xmm[n], fpu.ymm_high[n]]);
    assert_eq!(ymm, machine.ymm, "YMM after {}", about());
    for n in GENERAL {
        assert_eq!(cpu.gpr[n], machine.gpr[n], "register {n} after {}", about());
    }
    assert_eq!(cpu.rflags() & STATUS, machine.flags & STATUS, "flags after {}", about());
    assert_eq!(fpu.legacy.mxcsr, machine.legacy.mxcsr, "MXCSR after {}", about());
    assert_eq!(x87(&fpu.legacy), x87(&machine.legacy), "x87 after {}", about());
    let wide = matches!(code, Code::Fnstenv_m28byte | Code::Fnsave_m108byte);
    let memory = [cpu.peek(DATA), machine.memory].map(|memory| comparable(code.mnemonic(), memory, wide));
    assert_eq!(memory[0], memory[1], "memory after {}", about());
}

#[test]
fn every_instruction_does_what_the_host_does() {
    if !host_offers(CpuidFeature::AVX) {
        return;
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut checked = 0;
    for code in Code::values().filter(|&code| is_ours(code)) {
        let kinds = code.op_code().op_kinds();
        let choice = kinds.iter().any(|kind| format!("{kind:?}").ends_with("_or_mem"));
        for round in 0..ROUNDS {
            check(code, choice && round % 2 == 0, &mut numbers);
        }
        checked += 1;
    }
    // With AVX and nothing more there are this many.
    assert!(checked > 900, "only {checked} instructions were checked");
}

#[test]
fn there_is_room_for_every_stub() {
    use crate::simd::plan::Plan;
    use crate::simd::{arena, code, stub, vector};
    let (mut stubs, mut bytes) = (0, 0);
    for opcode in Code::values().filter(|&code| is_ours(code)) {
        let kinds = opcode.op_code().op_kinds();
        let immediates = if kinds.contains(&OpCodeOperandKind::imm8) { 256 } else { 1 };
        for memory in [false, true] {
            let instruction = build(opcode, memory, &mut Numbers(1));
            let Some(plan) = Plan::of(&instruction) else { continue };
            let code = code::vector(&instruction, &plan).unwrap();
            stubs += immediates;
            bytes += immediates * code.bytes().len().next_multiple_of(arena::LINE);
        }
    }
    assert!(stubs > 50_000 && stubs <= stub::MOST, "{stubs} stubs");
    assert!(bytes <= vector::ROOM, "{bytes} bytes");
}
