//! XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B.
//!
//! With memory XCHG is locked whether it says so or not. A comparison that fails still writes back what it
//! read, so all of these need the right to write (SDM vol. 2, CMPXCHG).

use base::Scalar;
use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;

use super::alu::{self, compare};
use crate::access::Place;
use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::walk::Access;
use crate::width::Width;

const RAX: u8 = Gpr::Rax as u8;

fn xchg_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (a, b) = (T::get(cpu, op.dst), T::get(cpu, op.src));
    T::set(cpu, op.dst, b);
    T::set(cpu, op.src, a);
    Ok(())
}

fn xchg_memory<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    // One of the two operands is memory; either order means the same.
    let register = if op.kinds[0] == Kind::Register { op.dst } else { op.src };
    let new = T::get(cpu, register);
    let (old, _) = cpu.modify::<T>(op, |_| new)?;
    T::set(cpu, register, old);
    Ok(())
}

fn xadd_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (a, b) = (T::get(cpu, op.dst), T::get(cpu, op.src));
    let sum = alu::add(&mut cpu.status, a, b);
    T::set(cpu, op.src, a);
    T::set(cpu, op.dst, sum);
    Ok(())
}

fn xadd_memory<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let b = T::get(cpu, op.src);
    let (old, _) = cpu.modify::<T>(op, |a| T::from_u64(a.to_u64().wrapping_add(b.to_u64())))?;
    alu::add(&mut cpu.status, old, b);
    T::set(cpu, op.src, old);
    Ok(())
}

/// A register that differs is not even zero-extended.
fn cmpxchg_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (expected, found, new) = (T::get(cpu, RAX), T::get(cpu, op.dst), T::get(cpu, op.src));
    compare(&mut cpu.status, expected, found);
    if found == expected {
        T::set(cpu, op.dst, new);
    } else {
        T::set(cpu, RAX, found);
    }
    Ok(())
}

fn cmpxchg_memory<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (expected, new) = (T::get(cpu, RAX), T::get(cpu, op.src));
    let (found, _) = cpu.modify::<T>(op, |found| if found == expected { new } else { found })?;
    compare(&mut cpu.status, expected, found);
    if found != expected {
        T::set(cpu, RAX, found);
    }
    Ok(())
}

/// Two registers of width `T` as one number.
fn pair<T: Width>(cpu: &Cpu, low: Gpr, high: Gpr) -> u128 {
    let half = |register| u128::from(T::get(cpu, register as u8).to_u64());
    half(low) | half(high) << T::BITS
}

/// Ends CMPXCHG8B and CMPXCHG16B: ZF alone tells, and what was found replaces what was expected.
fn conclude<T: Width>(cpu: &mut Cpu, expected: u128, found: u128) {
    if found != expected {
        T::set(cpu, Gpr::Rax as u8, T::from_u64(found as u64));
        T::set(cpu, Gpr::Rdx as u8, T::from_u64((found >> T::BITS) as u64));
    }
    cpu.status.set_zero(found == expected);
}

fn cmpxchg8b(cpu: &mut Cpu, op: &Op) -> Step {
    let expected = pair::<u32>(cpu, Gpr::Rax, Gpr::Rdx);
    let new = pair::<u32>(cpu, Gpr::Rbx, Gpr::Rcx) as u64;
    let (found, _) =
        cpu.modify::<u64>(op, |found| if u128::from(found) == expected { new } else { found })?;
    conclude::<u32>(cpu, expected, u128::from(found));
    Ok(())
}

fn cmpxchg16b(cpu: &mut Cpu, op: &Op) -> Step {
    let linear = cpu.address(op, 16, Access::Write)?;
    if linear % 16 != 0 {
        return Err(cpu.gp());
    }
    let expected = pair::<u64>(cpu, Gpr::Rax, Gpr::Rdx);
    let new = pair::<u64>(cpu, Gpr::Rbx, Gpr::Rcx);
    let found = match cpu.translate(linear, Access::Write, cpu.mode.view, op.segment)? {
        Place::Ram(at) => {
            let (found, code) = cpu.memory.compare_exchange_16(at, expected, new);
            cpu.leave |= code;
            found
        }
        // A device has no 16-byte accesses, so it sees two.
        Place::Device(_) => {
            let low: u64 = cpu.read(linear, op.segment)?;
            let high: u64 = cpu.read(linear + u64::SIZE, op.segment)?;
            let found = u128::from(low) | u128::from(high) << 64;
            let put = if found == expected { new } else { found };
            cpu.write(linear, put as u64, op.segment)?;
            cpu.write(linear + u64::SIZE, (put >> 64) as u64, op.segment)?;
            found
        }
    };
    cpu.note_data(linear, 16, true);
    conclude::<u64>(cpu, expected, found);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let memory = op.kinds[0] == Kind::Memory;
    match instruction.mnemonic() {
        Mnemonic::Xchg if memory || op.kinds[1] == Kind::Memory => {
            op.locked = true;
            by_width!(op.width, xchg_memory)
        }
        Mnemonic::Xchg => by_width!(op.width, xchg_register),
        Mnemonic::Xadd if memory => by_width!(op.width, xadd_memory),
        Mnemonic::Xadd => by_width!(op.width, xadd_register),
        Mnemonic::Cmpxchg if memory => by_width!(op.width, cmpxchg_memory),
        Mnemonic::Cmpxchg => by_width!(op.width, cmpxchg_register),
        Mnemonic::Cmpxchg8b => Some(cmpxchg8b),
        Mnemonic::Cmpxchg16b => Some(cmpxchg16b),
        _ => None,
    }
}
