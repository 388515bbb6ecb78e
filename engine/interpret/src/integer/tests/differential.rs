//! Every form of every instruction here that can do with registers and immediates, with random operands,
//! against the host's CPU; and again with its register-or-memory operand in memory.

use std::collections::BTreeMap;

use fastrand::Rng;
use iced_x86::{Code, CpuidFeature, Encoder, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};
use x86::flags::{AF, CF, DF, OF, PF, SF, STATUS, ZF};

use super::native::{Page, Registers};
use super::{Bench, DATA};

/// Random cases a form.
const CASES: usize = 600;

fn tested(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    let families: &[&[M]] = &[
        &[M::Add, M::Or, M::Adc, M::Sbb, M::And, M::Sub, M::Xor, M::Cmp, M::Test],
        &[M::Inc, M::Dec, M::Neg, M::Not],
        &[M::Mov, M::Movzx, M::Movsx, M::Movsxd, M::Bswap, M::Xchg, M::Xadd, M::Cmpxchg],
        &[M::Cbw, M::Cwde, M::Cdqe, M::Cwd, M::Cdq, M::Cqo],
        &[M::Clc, M::Stc, M::Cmc, M::Cld, M::Std, M::Lahf, M::Sahf],
        &[M::Shl, M::Shr, M::Sar, M::Rol, M::Ror, M::Rcl, M::Rcr, M::Shld, M::Shrd],
        &[M::Mul, M::Imul, M::Div, M::Idiv, M::Mulx],
        &[M::Bt, M::Bts, M::Btr, M::Btc, M::Bsf, M::Bsr, M::Popcnt, M::Lzcnt, M::Tzcnt],
        &[M::Andn, M::Blsi, M::Blsr, M::Blsmsk, M::Bextr, M::Bzhi, M::Pdep, M::Pext],
        &[M::Rorx, M::Sarx, M::Shlx, M::Shrx, M::Adcx, M::Adox, M::Crc32, M::Lea],
        &[M::Seto, M::Setno, M::Setb, M::Setae, M::Sete, M::Setne, M::Setbe, M::Seta],
        &[M::Sets, M::Setns, M::Setp, M::Setnp, M::Setl, M::Setge, M::Setle, M::Setg],
        &[M::Cmovo, M::Cmovno, M::Cmovb, M::Cmovae, M::Cmove, M::Cmovne, M::Cmovbe, M::Cmova],
        &[M::Cmovs, M::Cmovns, M::Cmovp, M::Cmovnp, M::Cmovl, M::Cmovge, M::Cmovle, M::Cmovg],
    ];
    families.iter().any(|family| family.contains(&mnemonic))
}

/// Does the host have it?
fn on_host(code: Code) -> bool {
    use CpuidFeature as F;
    code.cpuid_features().iter().all(|feature| match feature {
        F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 | F::X64 => true,
        F::CMOV => true,
        F::BMI1 => is_x86_feature_detected!("bmi1"),
        F::BMI2 => is_x86_feature_detected!("bmi2"),
        F::ADX => is_x86_feature_detected!("adx"),
        F::LZCNT => is_x86_feature_detected!("lzcnt"),
        F::POPCNT => is_x86_feature_detected!("popcnt"),
        F::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        _ => false,
    })
}

/// A register of a group of sixteen (or the 20 byte registers), not the stack pointer.
fn any(rng: &mut Rng, first: Register) -> Register {
    loop {
        let count = if first == Register::AL { 20 } else { 16 };
        let register = first + rng.u32(0..count);
        if register.full_register() != Register::RSP {
            return register;
        }
    }
}

/// The operand's register if it is one, `first of its group` for those that may be chosen.
enum Shape {
    Choose(Register),
    Fixed(Register),
    Immediate(OpKind),
}

fn shape(kind: OpCodeOperandKind) -> Option<Shape> {
    use OpCodeOperandKind as K;
    use Shape::{Choose, Fixed, Immediate};
    Some(match kind {
        K::r8_or_mem | K::r8_reg | K::r8_opcode => Choose(Register::AL),
        K::r16_or_mem | K::r16_reg | K::r16_rm | K::r16_opcode => Choose(Register::AX),
        K::r32_or_mem | K::r32_reg | K::r32_rm | K::r32_opcode | K::r32_vvvv => Choose(Register::EAX),
        K::r64_or_mem | K::r64_reg | K::r64_rm | K::r64_opcode | K::r64_vvvv => Choose(Register::RAX),
        K::al => Fixed(Register::AL),
        K::ax => Fixed(Register::AX),
        K::eax => Fixed(Register::EAX),
        K::rax => Fixed(Register::RAX),
        K::cl => Fixed(Register::CL),
        K::imm8 | K::imm8_const_1 => Immediate(OpKind::Immediate8),
        K::imm16 => Immediate(OpKind::Immediate16),
        K::imm32 => Immediate(OpKind::Immediate32),
        K::imm64 => Immediate(OpKind::Immediate64),
        K::imm8sex16 => Immediate(OpKind::Immediate8to16),
        K::imm8sex32 => Immediate(OpKind::Immediate8to32),
        K::imm8sex64 => Immediate(OpKind::Immediate8to64),
        K::imm32sex64 => Immediate(OpKind::Immediate32to64),
        _ => return None,
    })
}

fn kinds(code: Code) -> impl Iterator<Item = OpCodeOperandKind> {
    let info = code.op_code();
    (0..info.op_count()).map(move |n| info.op_kind(n))
}

/// The operand that may be memory as well.
fn memory_operand(code: Code) -> Option<u32> {
    use OpCodeOperandKind as K;
    let place = kinds(code)
        .position(|kind| matches!(kind, K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem))?;
    Some(place as u32)
}

/// Forms of the tested instructions that do with registers and immediates.
fn forms() -> Vec<Code> {
    let fits = |&code: &Code| {
        let info = code.op_code();
        tested(code.mnemonic())
            && on_host(code)
            && info.is_instruction()
            && info.mode64()
            && kinds(code).all(|kind| shape(kind).is_some())
    };
    Code::values().filter(fits).collect()
}

/// A number that is likely to be at some edge.
fn number(rng: &mut Rng) -> u64 {
    match rng.u32(0..8) {
        0 => [0, 1, 2, 8, 9, 16, 17, 31, 32, 33, 63, 64][rng.usize(0..12)],
        1 => u64::MAX >> rng.u32(0..64),
        2 => 1 << rng.u32(0..64),
        3 => (i64::MIN >> rng.u32(0..64)) as u64,
        4 => rng.u64(0..128),
        5 => u64::from(rng.u32(..)) << 8,
        _ => rng.u64(..),
    }
}

/// An instruction of this form with random operands; `private` is what the register-or-memory operand is
/// if not `None`: the sixteen's number of a register.
fn instruction(rng: &mut Rng, code: Code, private: Option<u32>) -> Instruction {
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    for (n, kind) in (0..).zip(kinds(code)) {
        match shape(kind).unwrap() {
            Shape::Choose(first) => {
                let register = match private {
                    // The byte registers of the upper eight come after AH to BH.
                    Some(number) if memory_operand(code) == Some(n) => {
                        first + number + if first == Register::AL { 4 } else { 0 }
                    }
                    Some(number) => loop {
                        let register = any(rng, first);
                        if register.full_register() != Register::RAX + number {
                            break register;
                        }
                    },
                    None => any(rng, first),
                };
                instruction.set_op_kind(n, OpKind::Register);
                instruction.set_op_register(n, register);
            }
            Shape::Fixed(register) => {
                instruction.set_op_kind(n, OpKind::Register);
                instruction.set_op_register(n, register);
            }
            Shape::Immediate(of) => {
                instruction.set_op_kind(n, of);
                let value = if kind == OpCodeOperandKind::imm8_const_1 { 1 } else { number(rng) };
                match of {
                    OpKind::Immediate8 => instruction.set_immediate8(value as u8),
                    OpKind::Immediate16 => instruction.set_immediate16(value as u16),
                    OpKind::Immediate32 => instruction.set_immediate32(value as u32),
                    OpKind::Immediate64 => instruction.set_immediate64(value),
                    OpKind::Immediate8to16 => instruction.set_immediate8to16(value as i8 as i16),
                    OpKind::Immediate8to32 => instruction.set_immediate8to32(value as i8 as i32),
                    OpKind::Immediate8to64 => instruction.set_immediate8to64(value as i8 as i64),
                    _ => instruction.set_immediate32to64(value as i32 as i64),
                }
            }
        }
    }
    instruction
}

/// Its bytes, if there is an encoding: none for AH beside a register that needs REX.
fn encode(instruction: &Instruction) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(64);
    encoder.encode(instruction, 0).ok()?;
    Some(encoder.take_buffer())
}

fn random_registers(rng: &mut Rng) -> Registers {
    let mut gpr = [0; 16];
    gpr.iter_mut().for_each(|register| *register = number(rng));
    gpr[4] = super::STACK;
    Registers { gpr, flags: rng.u64(..) & (STATUS | DF) | 2 }
}

/// Loads the registers; every other time the flags become others, in their lazy form.
fn load(rng: &mut Rng, bench: &mut Bench, registers: &mut Registers) {
    bench.cpu.gpr[..16].copy_from_slice(&registers.gpr);
    bench.cpu.state.rflags = registers.flags;
    bench.cpu.status.set_bits(registers.flags);
    if rng.bool() {
        bench.cpu.status.set_arithmetic::<u32>(number(rng), rng.u64(..));
        registers.flags = bench.cpu.rflags();
    }
}

fn unload(bench: &Bench) -> Registers {
    let mut gpr = [0; 16];
    gpr.copy_from_slice(&bench.cpu.gpr[..16]);
    Registers { gpr, flags: bench.cpu.rflags() & (STATUS | DF) | 2 }
}

/// Flags that the manual leaves undefined for this instruction with these operands.
fn undefined(instruction: &Instruction, before: &Registers) -> u64 {
    use iced_x86::RflagsBits as R;
    let bits = instruction.rflags_undefined();
    let mut undefined = 0;
    for (bit, flag) in [(R::CF, CF), (R::PF, PF), (R::AF, AF), (R::ZF, ZF), (R::SF, SF), (R::OF, OF)] {
        undefined |= if bits & bit != 0 { flag } else { 0 };
    }
    // A shift by no less than the operand's width leaves CF undefined too, and a 16-bit double shift
    // all of them.
    let last = instruction.op_count().saturating_sub(1);
    let count = if last == 0 {
        0
    } else if instruction.op_kind(last) == OpKind::Register {
        before.gpr[1] & 0x1f
    } else {
        u64::from(instruction.immediate8() & 0x1f)
    };
    let width = 8 * instruction.op_register(0).size() as u64;
    match instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Shr if width < 32 && count >= width => undefined | CF,
        Mnemonic::Shld | Mnemonic::Shrd if width < 32 && count > width => STATUS,
        _ => undefined,
    }
}

/// Is the result itself undefined?
fn unpredictable(instruction: &Instruction, before: &Registers) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Shld | Mnemonic::Shrd => undefined(instruction, before) == STATUS,
        Mnemonic::Bswap => instruction.op_register(0).size() == 2,
        _ => false,
    }
}

fn describe(instruction: &Instruction) -> String {
    format!("{instruction} ({:?})", instruction.code())
}

/// What a `BTreeMap` collects: how often the host leaves undefined flags otherwise than we do.
type Differences = BTreeMap<String, (u64, usize)>;

#[test]
fn registers_come_out_as_on_the_host() {
    let mut rng = Rng::with_seed(0x1a2b_3c4d);
    let mut bench = Bench::new(64);
    let mut page = Page::new();
    let mut differences = Differences::new();
    let mut compared = 0;
    let forms = forms();
    for &code in &forms {
        for _ in 0..CASES {
            let instruction = instruction(&mut rng, code, None);
            let Some(bytes) = encode(&instruction) else { continue };
            let mut before = random_registers(&mut rng);
            load(&mut rng, &mut bench, &mut before);
            // A division error would be a signal here; it has tests of its own.
            let Ok(()) = bench.run(&bytes) else {
                assert!(
                    matches!(code.mnemonic(), Mnemonic::Div | Mnemonic::Idiv),
                    "{}",
                    describe(&instruction)
                );
                continue;
            };
            let ours = unload(&bench);
            page.set(&bytes);
            let mut theirs = before;
            page.run(&mut theirs);
            theirs.flags &= STATUS | DF | 2;
            if unpredictable(&instruction, &before) {
                if theirs != ours {
                    differences.entry(format!("{code:?} result")).or_default().1 += 1;
                }
                continue;
            }
            let undefined = undefined(&instruction, &before);
            assert!(
                ours.gpr == theirs.gpr && (ours.flags ^ theirs.flags) & !undefined == 0,
                "{}\nbefore {before:x?}\nours   {ours:x?}\ntheirs {theirs:x?}",
                describe(&instruction)
            );
            if ours.flags != theirs.flags {
                let entry = differences.entry(format!("{code:?}")).or_default();
                entry.0 |= ours.flags ^ theirs.flags;
                entry.1 += 1;
            }
            compared += 1;
        }
    }
    for (form, (flags, count)) in differences {
        println!("{form}: undefined flags {flags:#x} differ {count} times");
    }
    assert!(
        forms.len() > 200 && compared > forms.len() * CASES / 3,
        "{} forms, {compared} cases",
        forms.len()
    );
}

/// The register that stands for memory on the host: R11 to R13 have no other part to play.
const PRIVATE: u32 = 11;

#[test]
fn memory_operands_come_out_as_registers_do_on_the_host() {
    let mut rng = Rng::with_seed(0x5e6f_7a8b);
    let mut bench = Bench::new(64);
    let mut page = Page::new();
    let mut forms = forms();
    // With a bit number in a register memory is addressed differently; `bit` has tests for it.
    forms.retain(|&code| {
        memory_operand(code).is_some()
            && !(matches!(code.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
                && code.op_code().op_kind(1) != OpCodeOperandKind::imm8)
    });
    let mut compared = 0;
    for &code in &forms {
        let operand = memory_operand(code).unwrap();
        for _ in 0..CASES / 2 {
            let in_register = instruction(&mut rng, code, Some(PRIVATE));
            let mut in_memory = in_register;
            in_memory.set_op_kind(operand, OpKind::Memory);
            in_memory.set_memory_base(Register::None);
            in_memory.set_memory_displ_size(4);
            // Across a page boundary now and then.
            let at = if rng.bool() { DATA } else { DATA + 0xffd };
            in_memory.set_memory_displacement64(at);
            let (Some(native), Some(bytes)) = (encode(&in_register), encode(&in_memory)) else { continue };
            let mut before = random_registers(&mut rng);
            if unpredictable(&in_register, &before) {
                continue;
            }
            load(&mut rng, &mut bench, &mut before);
            bench.put(at, before.gpr[PRIVATE as usize]);
            let Ok(()) = bench.run(&bytes) else {
                assert!(
                    matches!(code.mnemonic(), Mnemonic::Div | Mnemonic::Idiv),
                    "{}",
                    describe(&in_memory)
                );
                assert_eq!(bench.peek::<u64>(at), before.gpr[PRIVATE as usize]);
                continue;
            };
            let mut ours = unload(&bench);
            let memory = bench.peek::<u64>(at);
            page.set(&native);
            let mut theirs = before;
            page.run(&mut theirs);
            theirs.flags &= STATUS | DF | 2;
            let bits = 8 * in_register.op_register(operand).size() as u32;
            let mask = u64::MAX >> (64 - bits);
            // A 32-bit register loses its upper half where memory is left alone.
            assert_eq!(memory & !mask, before.gpr[PRIVATE as usize] & !mask, "{}", describe(&in_memory));
            let undefined = undefined(&in_register, &before);
            ours.gpr[PRIVATE as usize] = memory & mask;
            theirs.gpr[PRIVATE as usize] &= mask;
            assert!(
                ours.gpr == theirs.gpr && (ours.flags ^ theirs.flags) & !undefined == 0,
                "{}\nbefore {before:x?}\nours   {ours:x?}\ntheirs {theirs:x?}",
                describe(&in_memory)
            );
            compared += 1;
        }
    }
    assert!(
        forms.len() > 150 && compared > forms.len() * CASES / 6,
        "{} forms, {compared} cases",
        forms.len()
    );
}
