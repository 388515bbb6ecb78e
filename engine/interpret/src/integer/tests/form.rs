//! Random instructions of every form that can do with registers and immediates.

use fastrand::Rng;
use iced_x86::{Code, CpuidFeature, Encoder, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register};

fn tested(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    let families: &[&[M]] = &[
        &[M::Add, M::Or, M::Adc, M::Sbb, M::And, M::Sub, M::Xor, M::Cmp, M::Test],
        &[M::Inc, M::Dec, M::Neg, M::Not],
        &[M::Mov, M::Movzx, M::Movsx, M::Movsxd, M::Bswap, M::Xchg, M::Xadd, M::Cmpxchg],
        &[M::Cbw, M::Cwde, M::Cdqe, M::Cwd, M::Cdq, M::Cqo],
        &[M::Aaa, M::Aas, M::Aam, M::Aad, M::Daa, M::Das, M::Salc],
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

/// A register of the group that begins with `first`, of those that code of this size has, but not the
/// stack pointer.
fn any(rng: &mut Rng, bits: u32, first: Register) -> Register {
    loop {
        let count = match bits {
            64 if first == Register::AL => 20,
            64 => 16,
            _ => 8,
        };
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
pub(super) fn memory_operand(code: Code) -> Option<u32> {
    use OpCodeOperandKind as K;
    let place = kinds(code)
        .position(|kind| matches!(kind, K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem))?;
    Some(place as u32)
}

/// Forms of the tested instructions that do with registers and immediates.
pub(super) fn forms(bits: u32) -> Vec<Code> {
    let fits = |&code: &Code| {
        let info = code.op_code();
        tested(code.mnemonic())
            && on_host(code)
            && info.is_instruction()
            && if bits == 64 { info.mode64() } else { info.mode32() }
            && kinds(code).all(|kind| shape(kind).is_some())
    };
    Code::values().filter(fits).collect()
}

/// A number that is likely to be at some edge.
pub(super) fn number(rng: &mut Rng) -> u64 {
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
pub(super) fn instruction(rng: &mut Rng, bits: u32, code: Code, private: Option<u32>) -> Instruction {
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
                        let register = any(rng, bits, first);
                        if register.full_register() != Register::RAX + number {
                            break register;
                        }
                    },
                    None => any(rng, bits, first),
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
pub(super) fn encode(instruction: &Instruction, bits: u32) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(bits);
    encoder.encode(instruction, 0).ok()?;
    Some(encoder.take_buffer())
}
