//! MUL, IMUL with one to three operands, MULX. The flags left undefined stay, as on AMD's CPUs.

use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;

use super::operand::source;
use crate::cpu::Cpu;
use crate::op::{Exec, HIGH, Kind, Op};
use crate::raised::Step;
use crate::width::Width;

const RAX: u8 = Gpr::Rax as u8;
const RDX: u8 = Gpr::Rdx as u8;

/// The product of two operands: its lower and upper half.
#[inline(always)]
fn unsigned<T: Width>(a: T, b: T) -> (u64, u64) {
    let product = u128::from(a.to_u64()) * u128::from(b.to_u64());
    (product as u64 & T::MASK, (product >> T::BITS) as u64)
}

/// The same for signed operands, and whether the lower half alone is not the whole.
#[inline(always)]
fn signed<T: Width>(a: T, b: T) -> (u64, u64, bool) {
    let product = i128::from(a.signed()) * i128::from(b.signed());
    let low = product as u64 & T::MASK;
    (low, (product >> T::BITS) as u64 & T::MASK, i128::from(T::from_u64(low).signed()) != product)
}

/// Writes a double-width result: AX, or rDX:rAX.
#[inline(always)]
pub(super) fn set_pair<T: Width>(cpu: &mut Cpu, low: u64, high: u64) {
    T::set(cpu, RAX, T::from_u64(low));
    T::set(cpu, if T::BITS == 8 { HIGH } else { RDX }, T::from_u64(high));
}

fn mul<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = source::<0, T>(cpu, op)?;
    let (low, high) = unsigned(T::get(cpu, RAX), b);
    set_pair::<T>(cpu, low, high);
    cpu.status.set_carry_overflow(high != 0, high != 0);
    Ok(())
}

fn imul_pair<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = source::<0, T>(cpu, op)?;
    let (low, high, lost) = signed(T::get(cpu, RAX), b);
    set_pair::<T>(cpu, low, high);
    cpu.status.set_carry_overflow(lost, lost);
    Ok(())
}

fn imul_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = source::<1, T>(cpu, op)?;
    let (low, _, lost) = signed(T::get(cpu, op.dst), b);
    T::set(cpu, op.dst, T::from_u64(low));
    cpu.status.set_carry_overflow(lost, lost);
    Ok(())
}

fn imul_immediate<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?;
    let (low, _, lost) = signed(a, T::from_u64(op.imm));
    T::set(cpu, op.dst, T::from_u64(low));
    cpu.status.set_carry_overflow(lost, lost);
    Ok(())
}

/// The lower half goes first: if both destinations are one register, the upper half stays.
fn mulx<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = source::<2, T>(cpu, op)?;
    let (low, high) = unsigned(T::get(cpu, RDX), b);
    T::set(cpu, op.src, T::from_u64(low));
    T::set(cpu, op.dst, T::from_u64(high));
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Mul => by_width!(op.width, mul),
        Mnemonic::Imul if op.kinds[1] == Kind::None => by_width!(op.width, imul_pair),
        Mnemonic::Imul if op.kinds[2] == Kind::None => by_wide_width!(op.width, imul_register),
        Mnemonic::Imul => by_wide_width!(op.width, imul_immediate),
        Mnemonic::Mulx => by_long_width!(op.width, mulx),
        _ => None,
    }
}
