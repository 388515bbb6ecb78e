//! From bytes to [`Op`]s: iced-x86 decodes, the families lower.

use engine::CpuModel;
use iced_x86::{Code, Decoder, DecoderError, Instruction, OpKind, Register};
use x86::SegmentRegister;

use crate::cpu::Cpu;
use crate::op::{Exec, FLAT, FLAT_STACK, HIGH, Kind, NEXT, Op, Repeat, ZERO};
use crate::raised::Step;
use crate::{integer, simd, system};

/// The longest instruction (SDM vol. 2, 2.3.11).
pub(crate) const LONGEST: usize = 15;

/// What bytes turned out to be.
pub(crate) enum Decoded {
    /// An instruction. One that does not exist, or that the CPU model does not offer, raises #UD.
    Op(Op),
    /// The bytes end before the instruction does.
    Incomplete,
}

/// Decodes one instruction from `bytes`, which stand at `rip` in code of 16, 32 or 64 `bits`.
pub(crate) fn decode(model: &CpuModel, bytes: &[u8], rip: u64, bits: u8) -> Decoded {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let mut decoder = Decoder::with_ip(u32::from(bits), bytes, rip, system::decoder_options(model));
    let instruction = decoder.decode();
    if decoder.last_error() == DecoderError::NoMoreBytes {
        return Decoded::Incomplete;
    }
    let offered = instruction.cpuid_features().iter().all(|&feature| system::offers(model, feature));
    let mut op = operands(&instruction, bits);
    let lowered = if instruction.is_invalid() || !offered { None } else { lower(&instruction, &mut op) };
    match lowered {
        Some(exec) => op.exec = exec,
        None if instruction.is_invalid() && instruction.len() == LONGEST => {
            op.exec = overlong;
            op.ends_block = true;
        }
        None => {
            tracing::debug!(
                target: "ringfence::undefined",
                "undefined instruction at {rip:#x}: {:02x?}",
                &bytes[..instruction.len().max(1).min(bytes.len())]
            );
            op.exec = undefined;
            op.ends_block = true;
        }
    }
    Decoded::Op(op)
}

fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    integer::lower(instruction, op)
        .or_else(|| system::lower(instruction, op))
        .or_else(|| simd::lower(instruction, op))
}

/// Is the instruction one of the integer or SIMD families, which touch general and FP state and memory only?
pub(crate) fn is_computation(instruction: &Instruction) -> bool {
    let mut op = operands(instruction, 64);
    integer::lower(instruction, &mut op).is_some()
        || system::lower(instruction, &mut op).is_none() && simd::lower(instruction, &mut op).is_some()
}

/// #UD.
pub(crate) fn undefined(cpu: &mut Cpu, _: &Op) -> Step {
    Err(cpu.ud())
}

/// #GP(0): more than 15 bytes.
fn overlong(cpu: &mut Cpu, _: &Op) -> Step {
    Err(cpu.gp())
}

/// Fills in the operand fields.
fn operands(instruction: &Instruction, bits: u8) -> Op {
    let mut op = Op {
        exec: undefined,
        imm: 0,
        disp: 0,
        extra: 0,
        code: instruction.code() as u16,
        len: instruction.len() as u8,
        dst: 0,
        src: 0,
        third: 0,
        base: ZERO,
        index: ZERO,
        scale: 0,
        segment: FLAT,
        address_shift: 64 - bits,
        width: 0,
        kinds: [Kind::None; 3],
        locked: instruction.has_lock_prefix(),
        repeat: match () {
            () if instruction.has_repne_prefix() => Repeat::WhileNotEqual,
            () if instruction.has_rep_prefix() => Repeat::WhileEqual,
            () => Repeat::None,
        },
        ends_block: false,
    };
    for n in 0..instruction.op_count().min(4) {
        let kind = match instruction.op_kind(n) {
            OpKind::Register => {
                let register = instruction.op_register(n);
                if n == 0 {
                    op.width = register.size() as u8;
                }
                match n {
                    0 => op.dst = number(register),
                    1 => op.src = number(register),
                    2 => op.third = number(register),
                    _ => {}
                }
                Kind::Register
            }
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                op.imm = instruction.near_branch_target().wrapping_sub(instruction.next_ip());
                op.ends_block = true;
                Kind::Immediate
            }
            OpKind::FarBranch16 | OpKind::FarBranch32 => {
                op.imm = match instruction.op_kind(n) {
                    OpKind::FarBranch16 => u64::from(instruction.far_branch16()),
                    _ => u64::from(instruction.far_branch32()),
                };
                op.extra = u32::from(instruction.far_branch_selector());
                op.ends_block = true;
                Kind::Immediate
            }
            OpKind::Immediate8_2nd => {
                op.extra = u32::from(instruction.immediate8_2nd());
                Kind::Immediate
            }
            kind if is_memory(kind) => {
                memory(instruction, kind, bits, &mut op);
                if n == 0 {
                    op.width = instruction.memory_size().size().min(255) as u8;
                }
                Kind::Memory
            }
            _ => {
                op.imm = instruction.immediate(n);
                Kind::Immediate
            }
        };
        if let Some(slot) = op.kinds.get_mut(n as usize) {
            *slot = kind;
        }
    }
    if instruction.code() == Code::INVALID {
        op.len = op.len.max(1);
    }
    op
}

fn is_memory(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Memory
            | OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemorySegDI
            | OpKind::MemorySegEDI
            | OpKind::MemorySegRDI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI
    )
}

/// A memory operand. For string instructions `segment` and the address size are those of the source (rSI,
/// or the rDI of MASKMOVQ); the destination is always ES:rDI.
fn memory(instruction: &Instruction, kind: OpKind, bits: u8, op: &mut Op) {
    let address_bits = match kind {
        OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => 16,
        OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => 32,
        OpKind::MemorySegRSI | OpKind::MemorySegRDI | OpKind::MemoryESRDI => 64,
        _ => explicit(instruction, bits, op),
    };
    op.address_shift = 64 - address_bits;
    if matches!(kind, OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI) {
        // Keeps the source's segment when the instruction has one (MOVS, CMPS).
        if op.segment == FLAT && bits != 64 && !has_source(instruction) {
            op.segment = SegmentRegister::Es as u8;
        }
        return;
    }
    op.segment = segment(instruction, bits, op.base);
}

fn has_source(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|n| {
        matches!(instruction.op_kind(n), OpKind::MemorySegSI | OpKind::MemorySegESI | OpKind::MemorySegRSI)
    })
}

/// Base, index, scale and displacement; gives the address size in bits.
fn explicit(instruction: &Instruction, bits: u8, op: &mut Op) -> u8 {
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    op.disp = instruction.memory_displacement64();
    op.base = match base {
        Register::None => ZERO,
        Register::RIP | Register::EIP => {
            op.disp = op.disp.wrapping_sub(instruction.next_ip());
            NEXT
        }
        _ => base.number() as u8,
    };
    op.index = if index == Register::None { ZERO } else { index.number() as u8 };
    op.scale = instruction.memory_index_scale().trailing_zeros() as u8;
    match (base, index) {
        (Register::None, Register::None) => match instruction.memory_displ_size() {
            2 => 16,
            8 => 64,
            4 if bits == 64 && instruction.memory_displacement64() >> 32 != 0 => 64,
            4 if bits != 64 => 32,
            // 64-bit code without a base: with or without an address-size prefix the sum is the same.
            _ => bits.max(32),
        },
        // A vector of indexes says nothing about the address size; its displacement does.
        (Register::None, index) if index.is_vector_register() => {
            if instruction.memory_displ_size() == 8 {
                64
            } else {
                32
            }
        }
        (Register::None, index) => index.size() as u8 * 8,
        (base, _) => base.size() as u8 * 8,
    }
}

/// The segment field of a memory operand.
fn segment(instruction: &Instruction, bits: u8, base: u8) -> u8 {
    let register = match instruction.memory_segment() {
        Register::ES => SegmentRegister::Es,
        Register::CS => SegmentRegister::Cs,
        Register::SS => SegmentRegister::Ss,
        Register::FS => SegmentRegister::Fs,
        Register::GS => SegmentRegister::Gs,
        _ => SegmentRegister::Ds,
    };
    match register {
        SegmentRegister::Fs | SegmentRegister::Gs => register as u8,
        _ if bits != 64 => register as u8,
        // RSP and RBP as a base mean the stack.
        _ if base == 4 || base == 5 => FLAT_STACK,
        _ => FLAT,
    }
}

/// A register's number as [`Op`] has it.
fn number(register: Register) -> u8 {
    match register {
        Register::AH | Register::CH | Register::DH | Register::BH => {
            HIGH + (register as u8 - Register::AH as u8)
        }
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::DS => 3,
        Register::FS => 4,
        Register::GS => 5,
        // The byte registers have numbers of their own, SPL to R15L after AH to BH.
        _ => register.full_register().number() as u8,
    }
}
