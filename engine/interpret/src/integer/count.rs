//! Finding and counting bits: BSF, BSR, TZCNT, LZCNT, POPCNT. Flags left undefined are as on AMD's CPUs.

use iced_x86::{Instruction, Mnemonic};

use x86::flags::{CF, OF, PF, STATUS, ZF};

use super::operand::source;
use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::width::Width;

/// Trailing zeroes; the width for zero.
#[inline(always)]
fn trailing<T: Width>(value: T) -> u64 {
    u64::from(value.to_u64().trailing_zeros().min(T::BITS))
}

/// Leading zeroes; the width for zero.
#[inline(always)]
fn leading<T: Width>(value: T) -> u64 {
    u64::from(value.to_u64().leading_zeros() + T::BITS - 64)
}

/// BSF (`FORWARD`) and BSR. A source of zero sets ZF and leaves the whole destination alone, as AMD documents
/// it and Intel's CPUs do it.
fn scan<const FORWARD: bool, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = source::<1, T>(cpu, op)?;
    if value.to_u64() == 0 {
        cpu.status.set_bits(ZF | PF);
        return Ok(());
    }
    let found = if FORWARD { trailing(value) } else { u64::from(T::BITS) - 1 - leading(value) };
    T::set(cpu, op.dst, T::from_u64(found));
    cpu.status.set_bits(if found.count_ones().is_multiple_of(2) { PF } else { 0 });
    Ok(())
}

fn zeroes<const TRAILING: bool, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = source::<1, T>(cpu, op)?;
    let count = if TRAILING { trailing(value) } else { leading(value) };
    T::set(cpu, op.dst, T::from_u64(count));
    let carry = if value.to_u64() == 0 { CF } else { 0 };
    let zero = if count == 0 { ZF } else { 0 };
    cpu.status.replace(STATUS & !OF, carry | zero);
    Ok(())
}

fn ones<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = source::<1, T>(cpu, op)?.to_u64();
    T::set(cpu, op.dst, T::from_u64(u64::from(value.count_ones())));
    cpu.status.set_bits(if value == 0 { ZF } else { 0 });
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Bsf => by_wide_width!(op.width, scan, true),
        Mnemonic::Bsr => by_wide_width!(op.width, scan, false),
        Mnemonic::Tzcnt => by_wide_width!(op.width, zeroes, true),
        Mnemonic::Lzcnt => by_wide_width!(op.width, zeroes, false),
        Mnemonic::Popcnt => by_wide_width!(op.width, ones),
        _ => None,
    }
}
