//! What programs do about interrupts: INT n, INT3, INTO, INT1, HLT.

use iced_x86::{Instruction, Mnemonic};
use x86::control::debug;
use x86::{Activity, Vector};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::system::gate::{Cause, Entry};

fn software(cpu: &mut Cpu, vector: u8, cause: Cause) -> Step {
    let rip = cpu.next();
    cpu.enter(&Entry { vector, error_code: None, cause, rip, resume: false })
}

fn int(cpu: &mut Cpu, op: &Op) -> Step {
    software(cpu, op.imm as u8, Cause::Software)
}

fn int3(cpu: &mut Cpu, _: &Op) -> Step {
    software(cpu, Vector::Breakpoint as u8, Cause::Breakpoint)
}

fn into(cpu: &mut Cpu, _: &Op) -> Step {
    if cpu.status.overflow() { software(cpu, Vector::Overflow as u8, Cause::Breakpoint) } else { Ok(()) }
}

/// INT1 is a hardware event in all but its origin: the gate's DPL does not matter.
fn int1(cpu: &mut Cpu, _: &Op) -> Step {
    software(cpu, Vector::Debug as u8, Cause::Hardware)?;
    cpu.state.dr7 &= !debug::DR7_GD;
    cpu.refresh();
    Ok(())
}

fn hlt(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.require_supervisor()?;
    cpu.state.events.activity = Activity::Halted;
    cpu.leave = true;
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let exec: Exec = match instruction.mnemonic() {
        Mnemonic::Int => int,
        Mnemonic::Int3 => int3,
        Mnemonic::Into => into,
        Mnemonic::Int1 => int1,
        Mnemonic::Hlt => hlt,
        _ => return None,
    };
    op.ends_block = true;
    Some(exec)
}
