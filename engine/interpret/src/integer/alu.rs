//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT.

use iced_x86::{Instruction, Mnemonic};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::status::Status;
use crate::width::Width;

/// The vector of carries out of each bit of `a + b (+ carry) = r`.
#[inline(always)]
fn carries(a: u64, b: u64, r: u64) -> u64 {
    a & b | (a | b) & !r
}

/// The vector of borrows out of each bit of `a - b (- borrow) = r`.
#[inline(always)]
fn borrows(a: u64, b: u64, r: u64) -> u64 {
    !a & b | (!a | b) & r
}

/// A binary operation: gives the result, and leaves the flags in `status`.
trait Binary {
    /// Is the result written back?
    const WRITES: bool = true;
    fn compute<T: Width>(status: &mut Status, a: u64, b: u64) -> u64;
}

macro_rules! binary {
    ($name:ident, $writes:literal, |$status:ident, $a:ident, $b:ident| $body:expr) => {
        struct $name;
        impl Binary for $name {
            const WRITES: bool = $writes;
            #[inline(always)]
            fn compute<T: Width>($status: &mut Status, $a: u64, $b: u64) -> u64 {
                $body
            }
        }
    };
}

binary!(Add, true, |status, a, b| {
    let r = a.wrapping_add(b);
    status.set_arithmetic::<T>(r, carries(a, b, r));
    r
});
binary!(Adc, true, |status, a, b| {
    let r = a.wrapping_add(b).wrapping_add(u64::from(status.carry()));
    status.set_arithmetic::<T>(r, carries(a, b, r));
    r
});
binary!(Sub, true, |status, a, b| {
    let r = a.wrapping_sub(b);
    status.set_arithmetic::<T>(r, borrows(a, b, r));
    r
});
binary!(Sbb, true, |status, a, b| {
    let r = a.wrapping_sub(b).wrapping_sub(u64::from(status.carry()));
    status.set_arithmetic::<T>(r, borrows(a, b, r));
    r
});
binary!(Cmp, false, |status, a, b| Sub::compute::<T>(status, a, b));
binary!(And, true, |status, a, b| {
    status.set_logic::<T>(a & b);
    a & b
});
binary!(Or, true, |status, a, b| {
    status.set_logic::<T>(a | b);
    a | b
});
binary!(Xor, true, |status, a, b| {
    status.set_logic::<T>(a ^ b);
    a ^ b
});
binary!(Test, false, |status, a, b| And::compute::<T>(status, a, b));

/// Leaves the flags of `a - b`: CMP, and whatever compares like it.
#[inline(always)]
pub(super) fn compare<T: Width>(status: &mut Status, a: T, b: T) {
    Sub::compute::<T>(status, a.to_u64(), b.to_u64());
}

/// Gives `a + b` and leaves its flags.
#[inline(always)]
pub(super) fn add<T: Width>(status: &mut Status, a: T, b: T) -> T {
    T::from_u64(Add::compute::<T>(status, a.to_u64(), b.to_u64()))
}

// The five shapes of a binary operation.

fn register_register<F: Binary, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (a, b) = (T::get(cpu, op.dst).to_u64(), T::get(cpu, op.src).to_u64());
    let r = F::compute::<T>(&mut cpu.status, a, b);
    if F::WRITES {
        T::set(cpu, op.dst, T::from_u64(r));
    }
    Ok(())
}

fn register_immediate<F: Binary, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = T::get(cpu, op.dst).to_u64();
    let r = F::compute::<T>(&mut cpu.status, a, op.imm & T::MASK);
    if F::WRITES {
        T::set(cpu, op.dst, T::from_u64(r));
    }
    Ok(())
}

fn register_memory<F: Binary, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = cpu.load::<T>(op)?.to_u64();
    let a = T::get(cpu, op.dst).to_u64();
    let r = F::compute::<T>(&mut cpu.status, a, b);
    if F::WRITES {
        T::set(cpu, op.dst, T::from_u64(r));
    }
    Ok(())
}

fn memory_register<F: Binary, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = T::get(cpu, op.src).to_u64();
    memory_with::<F, T>(cpu, op, b)
}

fn memory_immediate<F: Binary, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    memory_with::<F, T>(cpu, op, op.imm & T::MASK)
}

#[inline(always)]
fn memory_with<F: Binary, T: Width>(cpu: &mut Cpu, op: &Op, b: u64) -> Step {
    if F::WRITES {
        let before = cpu.status;
        let (old, _) = cpu.modify::<T>(op, |a| {
            let mut status = before;
            T::from_u64(F::compute::<T>(&mut status, a.to_u64(), b))
        })?;
        F::compute::<T>(&mut cpu.status, old.to_u64(), b);
    } else {
        let a = cpu.load::<T>(op)?.to_u64();
        F::compute::<T>(&mut cpu.status, a, b);
    }
    Ok(())
}

fn shape<F: Binary, T: Width>(op: &Op) -> Option<Exec> {
    Some(match (op.kinds[0], op.kinds[1]) {
        (Kind::Register, Kind::Register) => register_register::<F, T>,
        (Kind::Register, Kind::Memory) => register_memory::<F, T>,
        (Kind::Register, Kind::Immediate) => register_immediate::<F, T>,
        (Kind::Memory, Kind::Register) => memory_register::<F, T>,
        (Kind::Memory, Kind::Immediate) => memory_immediate::<F, T>,
        _ => return None,
    })
}

fn binary<F: Binary>(op: &Op) -> Option<Exec> {
    match op.width {
        1 => shape::<F, u8>(op),
        2 => shape::<F, u16>(op),
        4 => shape::<F, u32>(op),
        8 => shape::<F, u64>(op),
        _ => None,
    }
}

/// A unary operation.
trait Unary {
    fn compute<T: Width>(status: &mut Status, a: u64) -> u64;
}

macro_rules! unary {
    ($name:ident, |$status:ident, $a:ident| $body:expr) => {
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn compute<T: Width>($status: &mut Status, $a: u64) -> u64 {
                $body
            }
        }
    };
}

unary!(Inc, |status, a| {
    let r = a.wrapping_add(1);
    status.set_arithmetic_keep_carry::<T>(r, carries(a, 1, r));
    r
});
unary!(Dec, |status, a| {
    let r = a.wrapping_sub(1);
    status.set_arithmetic_keep_carry::<T>(r, borrows(a, 1, r));
    r
});
unary!(Neg, |status, a| Sub::compute::<T>(status, 0, a));
unary!(Not, |_status, a| !a);

fn unary_register<F: Unary, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = T::get(cpu, op.dst).to_u64();
    let r = F::compute::<T>(&mut cpu.status, a);
    T::set(cpu, op.dst, T::from_u64(r));
    Ok(())
}

fn unary_memory<F: Unary, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let before = cpu.status;
    let (old, _) = cpu.modify::<T>(op, |a| {
        let mut status = before;
        T::from_u64(F::compute::<T>(&mut status, a.to_u64()))
    })?;
    F::compute::<T>(&mut cpu.status, old.to_u64());
    Ok(())
}

fn unary<F: Unary>(op: &Op) -> Option<Exec> {
    fn shape<F: Unary, T: Width>(op: &Op) -> Exec {
        if op.kinds[0] == Kind::Register { unary_register::<F, T> } else { unary_memory::<F, T> }
    }
    Some(match op.width {
        1 => shape::<F, u8>(op),
        2 => shape::<F, u16>(op),
        4 => shape::<F, u32>(op),
        8 => shape::<F, u64>(op),
        _ => return None,
    })
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Add => binary::<Add>(op),
        Mnemonic::Or => binary::<Or>(op),
        Mnemonic::Adc => binary::<Adc>(op),
        Mnemonic::Sbb => binary::<Sbb>(op),
        Mnemonic::And => binary::<And>(op),
        Mnemonic::Sub => binary::<Sub>(op),
        Mnemonic::Xor => binary::<Xor>(op),
        Mnemonic::Cmp => binary::<Cmp>(op),
        Mnemonic::Test => binary::<Test>(op),
        Mnemonic::Inc => unary::<Inc>(op),
        Mnemonic::Dec => unary::<Dec>(op),
        Mnemonic::Neg => unary::<Neg>(op),
        Mnemonic::Not => unary::<Not>(op),
        _ => None,
    }
}
