//! SHLD, SHRD: shifts that take in bits from a second register.

use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::status::Status;
use crate::width::Width;

/// Shifts `a` left or right and fills from `b`; `count` is not zero. A 16-bit shift by more than 16 is
/// undefined: `b` goes on coming in, and CF is clear, as on AMD's CPUs.
#[inline(always)]
fn compute<const LEFT: bool, T: Width>(status: &mut Status, a: u64, b: u64, count: u32) -> u64 {
    let top = |value: u64| value >> (T::BITS - 1) & 1 != 0;
    let beyond = T::BITS - count.min(T::BITS);
    let (r, out) = if LEFT {
        let r = if T::BITS == 64 { a << count | b >> beyond } else { left(a, b, count, T::BITS) };
        (r, a >> beyond)
    } else {
        let r = if T::BITS == 64 { a >> count | b << beyond } else { right(a, b, count, T::BITS) };
        (r, a >> (count - 1))
    };
    let carry = out & 1 != 0 && count <= T::BITS;
    let overflow = if LEFT { top(r) != carry && count <= T::BITS } else { top(r) != top(r << 1) };
    status.set_shifted::<T>(r, carry, overflow);
    r
}

/// The top of a:b:b, shifted left.
fn left(a: u64, b: u64, count: u32, bits: u32) -> u64 {
    let whole = u128::from(a) << (2 * bits) | u128::from(b) << bits | u128::from(b);
    (whole << count >> (2 * bits)) as u64
}

/// The bottom of b:b:a, shifted right.
fn right(a: u64, b: u64, count: u32, bits: u32) -> u64 {
    let whole = u128::from(b) << (2 * bits) | u128::from(b) << bits | u128::from(a);
    (whole >> count) as u64
}

#[inline(always)]
fn operation<const LEFT: bool, T: Width>(
    cpu: &Cpu,
    op: &Op,
) -> impl Fn(&mut Status, T) -> T + Copy + use<LEFT, T> {
    let count = if op.kinds[2] == Kind::Register { cpu.get(Gpr::Rcx) } else { op.imm };
    let count = count as u32 & if T::BITS == 64 { 63 } else { 31 };
    let b = T::get(cpu, op.src).to_u64();
    move |status: &mut Status, a: T| match count {
        0 => a,
        _ => T::from_u64(compute::<LEFT, T>(status, a.to_u64(), b, count)),
    }
}

fn register<const LEFT: bool, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let operation = operation::<LEFT, T>(cpu, op);
    let a = T::get(cpu, op.dst);
    let r = operation(&mut cpu.status, a);
    T::set(cpu, op.dst, r);
    Ok(())
}

fn memory<const LEFT: bool, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let operation = operation::<LEFT, T>(cpu, op);
    let (old, _) = cpu.modify::<T>(op, |a| operation(&mut Status::default(), a))?;
    operation(&mut cpu.status, old);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match (instruction.mnemonic(), op.kinds[0]) {
        (Mnemonic::Shld, Kind::Register) => by_wide_width!(op.width, register, true),
        (Mnemonic::Shld, _) => by_wide_width!(op.width, memory, true),
        (Mnemonic::Shrd, Kind::Register) => by_wide_width!(op.width, register, false),
        (Mnemonic::Shrd, _) => by_wide_width!(op.width, memory, false),
        _ => None,
    }
}
