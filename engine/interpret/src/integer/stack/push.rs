//! PUSH of general registers, memory and immediates; PUSHA. Segment registers belong to `system`.

use iced_x86::{Code, Instruction, Mnemonic};
use x86::Gpr;

use super::{Stack, operand_size, pushed, write};
use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::width::Width;

fn push_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = T::get(cpu, op.dst);
    let stack = pushed(cpu, value)?;
    cpu.commit(stack);
    Ok(())
}

fn push_memory<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = cpu.load::<T>(op)?;
    let stack = pushed(cpu, value)?;
    cpu.commit(stack);
    Ok(())
}

fn push_immediate<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let stack = pushed(cpu, T::from_u64(op.imm))?;
    cpu.commit(stack);
    Ok(())
}

/// All eight registers, with the old value of the stack pointer among them. What has been stored below
/// the stack pointer when a later store faults stays there, as on a real CPU; it is nobody's.
fn push_all<T: Width>(cpu: &mut Cpu, _: &Op) -> Step {
    let top = cpu.get(Gpr::Rsp);
    let mut at = Stack(top);
    for register in 0..8 {
        at = Stack(at.0.wrapping_sub(T::SIZE));
        let value = T::get(cpu, register);
        write(cpu, at, value)?;
    }
    cpu.commit(at);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Push => match op.kinds[0] {
            Kind::Register if !instruction.op_register(0).is_gpr() => None,
            Kind::Register => by_wide_width!(op.width, push_register),
            Kind::Memory => by_wide_width!(op.width, push_memory),
            Kind::Immediate => {
                op.width = operand_size(instruction);
                by_wide_width!(op.width, push_immediate)
            }
            Kind::None => None,
        },
        Mnemonic::Pusha if instruction.code() == Code::Pushaw => Some(push_all::<u16>),
        Mnemonic::Pusha | Mnemonic::Pushad => Some(push_all::<u32>),
        _ => None,
    }
}
