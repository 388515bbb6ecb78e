//! CLC, STC, CMC, CLD, STD, LAHF, SAHF, SALC.

use iced_x86::{Instruction, Mnemonic};
use x86::flags::{AF, CF, DF, PF, RESERVED_ONE, SF, ZF};

use crate::cpu::Cpu;
use crate::op::{Exec, HIGH, Op};
use crate::raised::Step;
use crate::width::Width;

/// What LAHF and SAHF exchange with AH.
const LOW: u64 = SF | ZF | AF | PF | CF;

fn clear_carry(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.status.set_carry(false);
    Ok(())
}

fn set_carry(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.status.set_carry(true);
    Ok(())
}

fn complement_carry(cpu: &mut Cpu, _: &Op) -> Step {
    let carry = cpu.status.carry();
    cpu.status.set_carry(!carry);
    Ok(())
}

fn clear_direction(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.state.rflags &= !DF;
    Ok(())
}

fn set_direction(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.state.rflags |= DF;
    Ok(())
}

fn lahf(cpu: &mut Cpu, _: &Op) -> Step {
    let flags = cpu.status.bits() & LOW | RESERVED_ONE;
    u8::set(cpu, HIGH, flags as u8);
    Ok(())
}

fn sahf(cpu: &mut Cpu, _: &Op) -> Step {
    let flags = u64::from(u8::get(cpu, HIGH));
    cpu.status.replace(LOW, flags);
    Ok(())
}

/// AL ← CF in all bits.
fn salc(cpu: &mut Cpu, _: &Op) -> Step {
    let value = if cpu.status.carry() { 0xff } else { 0 };
    u8::set(cpu, 0, value);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    Some(match instruction.mnemonic() {
        Mnemonic::Clc => clear_carry,
        Mnemonic::Stc => set_carry,
        Mnemonic::Cmc => complement_carry,
        Mnemonic::Cld => clear_direction,
        Mnemonic::Std => set_direction,
        Mnemonic::Lahf => lahf,
        Mnemonic::Sahf => sahf,
        Mnemonic::Salc => salc,
        _ => return None,
    })
}
