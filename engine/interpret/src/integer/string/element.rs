//! One element of each string instruction.

use x86::Gpr;

use super::{Element, advance, bulk, destination, index};
use crate::cpu::Cpu;
use crate::integer::alu;
use crate::op::Op;
use crate::raised::{Raised, Step};
use crate::walk::Access;
use crate::width::Width;

const RAX: u8 = Gpr::Rax as u8;

/// The element at the source.
#[inline(always)]
fn source<T: Width>(cpu: &mut Cpu, op: &Op) -> Result<T, Raised> {
    let linear = cpu.linear(op.segment, index(cpu, op, Gpr::Rsi), T::SIZE, Access::Read)?;
    cpu.read(linear, op.segment)
}

/// The element at the destination.
#[inline(always)]
fn target<T: Width>(cpu: &mut Cpu, op: &Op) -> Result<T, Raised> {
    let segment = destination(cpu);
    let linear = cpu.linear(segment, index(cpu, op, Gpr::Rdi), T::SIZE, Access::Read)?;
    cpu.read(linear, segment)
}

#[inline(always)]
fn set_target<T: Width>(cpu: &mut Cpu, op: &Op, value: T) -> Step {
    let segment = destination(cpu);
    let linear = cpu.linear(segment, index(cpu, op, Gpr::Rdi), T::SIZE, Access::Write)?;
    cpu.write(linear, value, segment)
}

pub(super) struct Movs;
impl Element for Movs {
    fn once<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
        let value = source::<T>(cpu, op)?;
        set_target(cpu, op, value)?;
        advance::<T>(cpu, op, Gpr::Rsi, 1);
        advance::<T>(cpu, op, Gpr::Rdi, 1);
        Ok(())
    }
    fn many<T: Width>(cpu: &mut Cpu, op: &Op, count: u64) -> Result<u64, Raised> {
        bulk::copy::<T>(cpu, op, count)
    }
}

pub(super) struct Stos;
impl Element for Stos {
    fn once<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
        let value = T::get(cpu, RAX);
        set_target(cpu, op, value)?;
        advance::<T>(cpu, op, Gpr::Rdi, 1);
        Ok(())
    }
    fn many<T: Width>(cpu: &mut Cpu, op: &Op, count: u64) -> Result<u64, Raised> {
        bulk::fill::<T>(cpu, op, count)
    }
}

pub(super) struct Lods;
impl Element for Lods {
    fn once<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
        let value = source::<T>(cpu, op)?;
        T::set(cpu, RAX, value);
        advance::<T>(cpu, op, Gpr::Rsi, 1);
        Ok(())
    }
}

pub(super) struct Cmps;
impl Element for Cmps {
    const COMPARES: bool = true;
    fn once<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
        let a = source::<T>(cpu, op)?;
        let b = target::<T>(cpu, op)?;
        alu::compare(&mut cpu.status, a, b);
        advance::<T>(cpu, op, Gpr::Rsi, 1);
        advance::<T>(cpu, op, Gpr::Rdi, 1);
        Ok(())
    }
}

pub(super) struct Scas;
impl Element for Scas {
    const COMPARES: bool = true;
    fn once<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
        let b = target::<T>(cpu, op)?;
        let a = T::get(cpu, RAX);
        alu::compare(&mut cpu.status, a, b);
        advance::<T>(cpu, op, Gpr::Rdi, 1);
        Ok(())
    }
}
