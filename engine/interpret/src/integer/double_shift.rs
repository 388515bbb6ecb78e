//! SHLD, SHRD: shifts that take in bits from a second register.

use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::status::Status;
use crate::width::Width;

/// Shifts `a` left or right and fills from `b`; `count` is not zero. A 16-bit shift by more than 16 is
/// undefined; it goes on into `a` again, as if the operands stood in a ring.
#[inline(always)]
fn compute<const LEFT: bool, T: Width>(status: &mut Status, a: u64, b: u64, count: u32) -> u64 {
    let ring = |low: u64, middle: u64, high: u64| {
        u128::from(low) | u128::from(middle) << T::BITS | u128::from(high) << (2 * T::BITS % 128)
    };
    let (r, carry) = if LEFT {
        // The ring read downwards: a, b, a. Bits leave at the top.
        if T::BITS == 64 {
            (a << count | b >> (64 - count), a >> (64 - count) & 1 != 0)
        } else {
            let whole = ring(a, b, a);
            let shifted = whole << count;
            ((shifted >> (2 * T::BITS)) as u64, shifted >> (3 * T::BITS) & 1 != 0)
        }
    } else if T::BITS == 64 {
        (a >> count | b << (64 - count), a >> (count - 1) & 1 != 0)
    } else {
        let whole = ring(a, b, a);
        ((whole >> count) as u64, whole >> (count - 1) & 1 != 0)
    };
    let overflow = (a ^ r) >> (T::BITS - 1) & 1 != 0;
    status.set_result::<T>(r, carry, overflow);
    r
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
