//! BMI1 and BMI2 (ANDN, BLSI, BLSMSK, BLSR, BEXTR, BZHI, PDEP, PEXT, RORX, SARX, SHLX, SHRX; MULX is with
//! the multiplications) and ADX (ADCX, ADOX).

use iced_x86::{Instruction, Mnemonic};
use x86::flags::{AF, PF, ZF};

use super::operand::source;
use super::shift::rotate_left;
use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::width::Width;

/// ~first & second.
fn andn<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let second = source::<2, T>(cpu, op)?.to_u64();
    let r = !T::get(cpu, op.src).to_u64() & second;
    T::set(cpu, op.dst, T::from_u64(r));
    cpu.status.set_logic::<T>(r);
    Ok(())
}

/// The lowest set bit alone.
fn blsi<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?.to_u64();
    let r = a & a.wrapping_neg();
    T::set(cpu, op.dst, T::from_u64(r));
    cpu.status.set_result::<T>(r, a != 0, false);
    Ok(())
}

/// All bits up to the lowest set one.
fn blsmsk<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?.to_u64();
    let r = a ^ a.wrapping_sub(1);
    T::set(cpu, op.dst, T::from_u64(r));
    cpu.status.set_result::<T>(r, a == 0, false);
    Ok(())
}

/// All but the lowest set bit.
fn blsr<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?.to_u64();
    let r = a & a.wrapping_sub(1);
    T::set(cpu, op.dst, T::from_u64(r));
    cpu.status.set_result::<T>(r, a == 0, false);
    Ok(())
}

/// The lowest `n` bits of a value; all of them if there are no more.
fn low_bits(value: u64, n: u64) -> u64 {
    if n < 64 { value & ((1 << n) - 1) } else { value }
}

/// Start and length in the first two bytes of the control operand. Only ZF, CF and OF are defined; the others
/// are as on AMD's CPUs.
fn bextr<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?.to_u64();
    let control = T::get(cpu, op.third).to_u64();
    let (start, length) = (control & 0xff, control >> 8 & 0xff);
    let r = low_bits(a.checked_shr(start as u32).unwrap_or(0), length);
    T::set(cpu, op.dst, T::from_u64(r));
    let flag = |set, bit| if set { bit } else { 0 };
    cpu.status.set_bits(AF | flag(r == 0, ZF) | flag((r as u8).count_ones().is_multiple_of(2), PF));
    Ok(())
}

fn bzhi<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?.to_u64();
    let n = T::get(cpu, op.third).to_u64() & 0xff;
    let r = low_bits(a, n);
    T::set(cpu, op.dst, T::from_u64(r));
    cpu.status.set_result::<T>(r, n >= u64::from(T::BITS), false);
    Ok(())
}

/// Spreads the low bits of the first source to the places that the mask names.
fn pdep<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let mut mask = source::<2, T>(cpu, op)?.to_u64();
    let mut from = T::get(cpu, op.src).to_u64();
    let mut r = 0;
    while mask != 0 {
        if from & 1 != 0 {
            r |= mask & mask.wrapping_neg();
        }
        from >>= 1;
        mask &= mask - 1;
    }
    T::set(cpu, op.dst, T::from_u64(r));
    Ok(())
}

/// Gathers the bits that the mask names.
fn pext<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let mut mask = source::<2, T>(cpu, op)?.to_u64();
    let from = T::get(cpu, op.src).to_u64();
    let mut r = 0;
    let mut place = 0;
    while mask != 0 {
        r |= u64::from(from >> mask.trailing_zeros() & 1 != 0) << place;
        place += 1;
        mask &= mask - 1;
    }
    T::set(cpu, op.dst, T::from_u64(r));
    Ok(())
}

fn rorx<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?.to_u64();
    let r = rotate_left::<T>(a, T::BITS - op.imm as u32 % T::BITS);
    T::set(cpu, op.dst, T::from_u64(r));
    Ok(())
}

const LEFT: u8 = 0;
const RIGHT: u8 = 1;

/// SHLX, SHRX and (neither) SARX.
fn shift<const KIND: u8, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let a = source::<1, T>(cpu, op)?;
    let count = T::get(cpu, op.third).to_u64() % u64::from(T::BITS);
    let r = match KIND {
        LEFT => a.to_u64() << count,
        RIGHT => a.to_u64() >> count,
        _ => (a.signed() >> count) as u64,
    };
    T::set(cpu, op.dst, T::from_u64(r));
    Ok(())
}

/// Adds with the carry in CF (ADCX) or OF (ADOX) and leaves all other flags.
fn add<const CARRY: bool, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = source::<1, T>(cpu, op)?.to_u64();
    let a = T::get(cpu, op.dst).to_u64();
    let (carry, overflow) = (cpu.status.carry(), cpu.status.overflow());
    let sum = u128::from(a) + u128::from(b) + u128::from(if CARRY { carry } else { overflow });
    let out = sum >> T::BITS != 0;
    T::set(cpu, op.dst, T::from_u64(sum as u64));
    match CARRY {
        true => cpu.status.set_carry_overflow(out, overflow),
        false => cpu.status.set_carry_overflow(carry, out),
    }
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Andn => by_long_width!(op.width, andn),
        Mnemonic::Blsi => by_long_width!(op.width, blsi),
        Mnemonic::Blsmsk => by_long_width!(op.width, blsmsk),
        Mnemonic::Blsr => by_long_width!(op.width, blsr),
        Mnemonic::Bextr if op.kinds[2] == Kind::Register => by_long_width!(op.width, bextr),
        Mnemonic::Bzhi => by_long_width!(op.width, bzhi),
        Mnemonic::Pdep => by_long_width!(op.width, pdep),
        Mnemonic::Pext => by_long_width!(op.width, pext),
        Mnemonic::Rorx => by_long_width!(op.width, rorx),
        Mnemonic::Shlx => by_long_width!(op.width, shift, LEFT),
        Mnemonic::Shrx => by_long_width!(op.width, shift, RIGHT),
        Mnemonic::Sarx => by_long_width!(op.width, shift, 2),
        Mnemonic::Adcx => by_long_width!(op.width, add, true),
        Mnemonic::Adox => by_long_width!(op.width, add, false),
        _ => None,
    }
}
