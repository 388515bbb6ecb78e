//! Near JMP, CALL, RET, Jcc, LOOPcc, JCXZ.
//!
//! Every function here is generic over the operand size, which says how far the new instruction pointer
//! reaches: 8 bytes in 64-bit code, always (an operand-size prefix on a near branch is ignored there, as
//! on Intel's CPUs); 2 or 4 elsewhere. The target is checked before anything is changed: it must be
//! canonical, or lie within the limit of CS (SDM vol. 2, JMP, CALL, RET).

use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86::paging::is_canonical;
use x86::{Gpr, SegmentRegister};

use super::condition;
use super::stack::{Stack, popped, pushed};
use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::{Raised, Step};
use crate::width::Width;

/// Cuts a target to the operand size and checks it.
#[inline(always)]
fn target<T: Width>(cpu: &mut Cpu, address: u64) -> Result<u64, Raised> {
    let address = address & T::MASK;
    let good = if T::SIZE == 8 {
        is_canonical(address)
    } else {
        address <= u64::from(cpu.state.segment(SegmentRegister::Cs).limit)
    };
    if good { Ok(address) } else { Err(cpu.gp()) }
}

#[inline(always)]
fn relative<T: Width>(cpu: &mut Cpu, op: &Op) -> Result<u64, Raised> {
    target::<T>(cpu, cpu.next().wrapping_add(op.imm))
}

fn jump<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let to = relative::<T>(cpu, op)?;
    cpu.set_next(to);
    Ok(())
}

fn jump_if<const C: u8, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    if cpu.status.condition(C) {
        let to = relative::<T>(cpu, op)?;
        cpu.set_next(to);
    }
    Ok(())
}

#[inline(always)]
fn call_to<T: Width>(cpu: &mut Cpu, to: u64) -> Step {
    let stack = pushed(cpu, T::from_u64(cpu.next()))?;
    cpu.commit(stack);
    cpu.set_next(to);
    Ok(())
}

fn call<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let to = relative::<T>(cpu, op)?;
    call_to::<T>(cpu, to)
}

/// The operand of an indirect branch.
#[inline(always)]
fn operand<T: Width>(cpu: &mut Cpu, op: &Op) -> Result<u64, Raised> {
    let address = match op.kinds[0] {
        Kind::Register => T::get(cpu, op.dst),
        _ => cpu.load::<T>(op)?,
    };
    target::<T>(cpu, address.to_u64())
}

fn jump_indirect<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let to = operand::<T>(cpu, op)?;
    cpu.set_next(to);
    Ok(())
}

fn call_indirect<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let to = operand::<T>(cpu, op)?;
    call_to::<T>(cpu, to)
}

/// RET, with the number of bytes to release in `imm`.
fn ret<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (address, stack) = popped::<T>(cpu)?;
    let to = target::<T>(cpu, address.to_u64())?;
    cpu.commit(Stack(stack.0.wrapping_add(op.imm)));
    cpu.set_next(to);
    Ok(())
}

/// When LOOP goes round, besides the count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Equal,
    NotEqual,
}

const ALWAYS: u8 = When::Always as u8;
const EQUAL: u8 = When::Equal as u8;
const NOT_EQUAL: u8 = When::NotEqual as u8;

/// LOOP, LOOPE, LOOPNE: `C` is the counter's width, which goes by the address size.
fn count_down<const WHEN: u8, C: Width, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let count = C::get(cpu, Gpr::Rcx as u8).to_u64().wrapping_sub(1) & C::MASK;
    let on = match WHEN {
        EQUAL => cpu.status.zero(),
        NOT_EQUAL => !cpu.status.zero(),
        _ => true,
    };
    if count != 0 && on {
        let to = relative::<T>(cpu, op)?;
        cpu.set_next(to);
    }
    C::set(cpu, Gpr::Rcx as u8, C::from_u64(count));
    Ok(())
}

fn jump_if_zero<C: Width, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    if C::get(cpu, Gpr::Rcx as u8).to_u64() == 0 {
        let to = relative::<T>(cpu, op)?;
        cpu.set_next(to);
    }
    Ok(())
}

/// The counter's width in bytes.
fn counter(code: Code) -> u64 {
    use Code as C;
    match code {
        C::Loop_rel8_16_CX | C::Loop_rel8_32_CX | C::Loope_rel8_16_CX | C::Loope_rel8_32_CX => 2,
        C::Loopne_rel8_16_CX | C::Loopne_rel8_32_CX | C::Jcxz_rel8_16 | C::Jcxz_rel8_32 => 2,
        C::Loop_rel8_16_RCX | C::Loop_rel8_64_RCX | C::Loope_rel8_16_RCX | C::Loope_rel8_64_RCX => 8,
        C::Loopne_rel8_16_RCX | C::Loopne_rel8_64_RCX | C::Jrcxz_rel8_16 | C::Jrcxz_rel8_64 => 8,
        _ => 4,
    }
}

fn count_down_by<const WHEN: u8>(instruction: &Instruction, op: &Op) -> Option<Exec> {
    match counter(instruction.code()) {
        2 => by_wide_width!(op.width, count_down, WHEN, u16),
        4 => by_wide_width!(op.width, count_down, WHEN, u32),
        _ => by_wide_width!(op.width, count_down, WHEN, u64),
    }
}

/// The operand size in bytes.
fn operand_size(instruction: &Instruction) -> u8 {
    match instruction.code() {
        Code::Retnw | Code::Retnw_imm16 => 2,
        Code::Retnd | Code::Retnd_imm16 => 4,
        Code::Retnq | Code::Retnq_imm16 => 8,
        _ => match instruction.op_kind(0) {
            OpKind::NearBranch16 => 2,
            OpKind::NearBranch32 => 4,
            OpKind::NearBranch64 => 8,
            OpKind::Register => instruction.op_register(0).size() as u8,
            _ => instruction.memory_size().size() as u8,
        },
    }
}

/// Chooses what executes an instruction of this family. Far branches belong to `system`.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let near = op.kinds[0] == Kind::Immediate
        && matches!(
            instruction.op_kind(0),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
        );
    let indirect = matches!(
        instruction.code(),
        Code::Jmp_rm16
            | Code::Jmp_rm32
            | Code::Jmp_rm64
            | Code::Call_rm16
            | Code::Call_rm32
            | Code::Call_rm64
    );
    let mnemonic = instruction.mnemonic();
    if !(near || indirect || mnemonic == Mnemonic::Ret) {
        return None;
    }
    op.width = operand_size(instruction);
    op.ends_block = true;
    match mnemonic {
        Mnemonic::Jmp if near => by_wide_width!(op.width, jump),
        Mnemonic::Jmp => by_wide_width!(op.width, jump_indirect),
        Mnemonic::Call if near => by_wide_width!(op.width, call),
        Mnemonic::Call => by_wide_width!(op.width, call_indirect),
        Mnemonic::Ret => by_wide_width!(op.width, ret),
        Mnemonic::Loop => count_down_by::<ALWAYS>(instruction, op),
        Mnemonic::Loope => count_down_by::<EQUAL>(instruction, op),
        Mnemonic::Loopne => count_down_by::<NOT_EQUAL>(instruction, op),
        Mnemonic::Jcxz | Mnemonic::Jecxz | Mnemonic::Jrcxz => match counter(instruction.code()) {
            2 => by_wide_width!(op.width, jump_if_zero, u16),
            4 => by_wide_width!(op.width, jump_if_zero, u32),
            _ => by_wide_width!(op.width, jump_if_zero, u64),
        },
        _ if instruction.is_jcc_short_or_near() => {
            let code = condition::code(instruction)?;
            match op.width {
                2 => by_condition!(code, jump_if, u16),
                4 => by_condition!(code, jump_if, u32),
                _ => by_condition!(code, jump_if, u64),
            }
        }
        _ => None,
    }
}
