//! SHL, SHR, SAR, ROL, ROR, RCL, RCR.
//!
//! The count is cut to 5 bits, 6 for 64-bit operands; a count of zero leaves all flags alone. What the
//! manual leaves undefined (OF for counts above 1, CF beyond the operand, AF) is as AMD's CPUs have it.

use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::status::Status;
use crate::width::Width;

/// A shift or rotate by a count that is not zero: gives the result, and leaves the flags in `status`.
trait Shift {
    fn compute<T: Width>(status: &mut Status, a: u64, count: u32) -> u64;
}

macro_rules! shift {
    ($name:ident, |$status:ident, $a:ident, $count:ident| $body:expr) => {
        struct $name;
        impl Shift for $name {
            #[inline(always)]
            fn compute<T: Width>($status: &mut Status, $a: u64, $count: u32) -> u64 {
                $body
            }
        }
    };
}

/// The top bit of an operand.
#[inline(always)]
fn top<T: Width>(value: u64) -> bool {
    value >> (T::BITS - 1) & 1 != 0
}

shift!(Shl, |status, a, count| {
    let r = a << count;
    let carry = if T::BITS == 64 { a >> (64 - count) } else { r >> T::BITS } & 1 != 0;
    status.set_shifted::<T>(r, carry, top::<T>(r) != carry);
    r
});
shift!(Shr, |status, a, count| {
    let r = a >> count;
    status.set_shifted::<T>(r, a >> (count - 1) & 1 != 0, top::<T>(r) != top::<T>(r << 1));
    r
});
shift!(Sar, |status, a, count| {
    let a = T::from_u64(a).signed();
    let r = (a >> count) as u64;
    status.set_shifted::<T>(r, a >> (count - 1) & 1 != 0, false);
    r
});
shift!(Rol, |status, a, count| {
    let r = rotate_left::<T>(a, count);
    let carry = r & 1 != 0;
    status.set_carry_overflow(carry, top::<T>(r) != carry);
    r
});
shift!(Ror, |status, a, count| {
    let r = rotate_left::<T>(a, T::BITS - count % T::BITS);
    status.set_carry_overflow(top::<T>(r), top::<T>(r) != top::<T>(r << 1));
    r
});
shift!(Rcl, |status, a, count| {
    let (r, carry) = rotate_through::<T>(a, status.carry(), count % (T::BITS + 1));
    status.set_carry_overflow(carry, top::<T>(r) != carry);
    r
});
shift!(Rcr, |status, a, count| {
    let (r, carry) = rotate_through::<T>(a, status.carry(), T::BITS + 1 - count % (T::BITS + 1));
    status.set_carry_overflow(carry, top::<T>(r) != top::<T>(r << 1));
    r
});

/// Rotates left by any count.
#[inline(always)]
pub(super) fn rotate_left<T: Width>(a: u64, count: u32) -> u64 {
    let count = count % T::BITS;
    if count == 0 { a } else { a << count | (a & T::MASK) >> (T::BITS - count) }
}

/// Rotates the operand with the carry above it left, by `BITS + 1` places at most; gives both.
fn rotate_through<T: Width>(a: u64, carry: bool, count: u32) -> (u64, bool) {
    let bits = T::BITS + 1;
    let whole = u128::from(a & T::MASK) | u128::from(carry) << T::BITS;
    let turned = whole << count | whole >> (bits - count);
    (turned as u64 & T::MASK, turned >> T::BITS & 1 != 0)
}

/// The count: CL or the immediate.
#[inline(always)]
fn count<const CL: bool, T: Width>(cpu: &Cpu, op: &Op) -> u32 {
    let count = if CL { cpu.get(Gpr::Rcx) } else { op.imm };
    count as u32 & if T::BITS == 64 { 63 } else { 31 }
}

fn register<F: Shift, const CL: bool, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let count = count::<CL, T>(cpu, op);
    let a = T::get(cpu, op.dst);
    let r = if count == 0 { a.to_u64() } else { F::compute::<T>(&mut cpu.status, a.to_u64(), count) };
    T::set(cpu, op.dst, T::from_u64(r));
    Ok(())
}

fn memory<F: Shift, const CL: bool, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let count = count::<CL, T>(cpu, op);
    let before = cpu.status;
    let compute = |status: &mut Status, a: T| match count {
        0 => a.to_u64(),
        _ => F::compute::<T>(status, a.to_u64(), count),
    };
    let (old, _) = cpu.modify::<T>(op, |a| {
        let mut status = before;
        T::from_u64(compute(&mut status, a))
    })?;
    compute(&mut cpu.status, old);
    Ok(())
}

fn shape<F: Shift>(op: &Op) -> Option<Exec> {
    match (op.kinds[0], op.kinds[1]) {
        (Kind::Register, Kind::Register) => by_width!(op.width, register, F, true),
        (Kind::Register, _) => by_width!(op.width, register, F, false),
        (_, Kind::Register) => by_width!(op.width, memory, F, true),
        _ => by_width!(op.width, memory, F, false),
    }
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => shape::<Shl>(op),
        Mnemonic::Shr => shape::<Shr>(op),
        Mnemonic::Sar => shape::<Sar>(op),
        Mnemonic::Rol => shape::<Rol>(op),
        Mnemonic::Ror => shape::<Ror>(op),
        Mnemonic::Rcl => shape::<Rcl>(op),
        Mnemonic::Rcr => shape::<Rcr>(op),
        _ => None,
    }
}
