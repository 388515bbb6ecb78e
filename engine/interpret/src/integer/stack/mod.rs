//! The stack: how it is addressed, and the instructions that work on it.
//!
//! RSP changes only when nothing can fail any more: [`pushed`] and [`popped`] do the memory access and give
//! the stack pointer to commit. Its width is that of the stack segment (SDM vol. 3, 6.2.3), not of the
//! operand: 64 bits in 64-bit code, else SS.B decides.

mod flags;
mod frame;
mod pop;
mod push;

use iced_x86::Instruction;
use x86::{Gpr, SegmentRegister};

use crate::cpu::Cpu;
use crate::op::{Exec, FLAT_STACK, Op};
use crate::raised::{Raised, Step};
use crate::walk::Access;
use crate::width::Width;

const SS: u8 = SegmentRegister::Ss as u8;

/// A stack pointer to commit, not yet cut to the width of the stack.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Stack(pub u64);

impl Cpu {
    /// Makes this the stack pointer.
    #[inline(always)]
    pub(super) fn commit(&mut self, stack: Stack) {
        let merged = self.merge_stack(Gpr::Rsp, stack.0);
        self.set(Gpr::Rsp, merged);
    }

    /// What a register holds after a write of the stack's width.
    #[inline(always)]
    fn merge_stack(&self, register: Gpr, value: u64) -> u64 {
        match self.mode.stack_mask {
            u64::MAX => value,
            0xffff => self.get(register) & !0xffff | value & 0xffff,
            mask => value & mask,
        }
    }
}

/// Stores a value under the top of the stack.
#[inline(always)]
pub(super) fn pushed<T: Width>(cpu: &mut Cpu, value: T) -> Result<Stack, Raised> {
    let to = Stack(cpu.get(Gpr::Rsp).wrapping_sub(T::SIZE));
    write(cpu, to, value)?;
    Ok(to)
}

/// Loads the value at the top of the stack.
#[inline(always)]
pub(super) fn popped<T: Width>(cpu: &mut Cpu) -> Result<(T, Stack), Raised> {
    let from = Stack(cpu.get(Gpr::Rsp));
    let value = read(cpu, from)?;
    Ok((value, Stack(from.0.wrapping_add(T::SIZE))))
}

/// Loads from a place in the stack. Operands of 8 bytes exist in 64-bit code only.
#[inline(always)]
fn read<T: Width>(cpu: &mut Cpu, at: Stack) -> Result<T, Raised> {
    if T::SIZE == 8 || cpu.mode.is_64() {
        return cpu.read(at.0, FLAT_STACK);
    }
    let linear = cpu.linear(SS, at.0 & cpu.mode.stack_mask, T::SIZE, Access::Read)?;
    cpu.read(linear, SS)
}

/// Stores to a place in the stack.
#[inline(always)]
fn write<T: Width>(cpu: &mut Cpu, at: Stack, value: T) -> Step {
    if T::SIZE == 8 || cpu.mode.is_64() {
        return cpu.write(at.0, value, FLAT_STACK);
    }
    let linear = cpu.linear(SS, at.0 & cpu.mode.stack_mask, T::SIZE, Access::Write)?;
    cpu.write(linear, value, SS)
}

/// The operand size in bytes of an instruction that moves the stack pointer by one operand.
fn operand_size(instruction: &Instruction) -> u8 {
    instruction.stack_pointer_increment().unsigned_abs() as u8
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    push::lower(instruction, op)
        .or_else(|| pop::lower(instruction, op))
        .or_else(|| frame::lower(instruction, op))
        .or_else(|| flags::lower(instruction, op))
}
