//! SETcc and CMOVcc.

use iced_x86::Instruction;

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::width::Width;

/// The encoding of the instruction's condition (SDM vol. 1, appendix B): 0 to 15, in iced's order.
pub(super) fn code(instruction: &Instruction) -> Option<u8> {
    (instruction.condition_code() as u8).checked_sub(1)
}

fn set_register<const C: u8>(cpu: &mut Cpu, op: &Op) -> Step {
    let met = cpu.status.condition(C);
    u8::set(cpu, op.dst, u8::from(met));
    Ok(())
}

fn set_memory<const C: u8>(cpu: &mut Cpu, op: &Op) -> Step {
    let met = cpu.status.condition(C);
    cpu.store(op, u8::from(met))
}

// A move that is not made still writes its register: a 32-bit one loses its upper half.

fn move_register<const C: u8, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = T::get(cpu, if cpu.status.condition(C) { op.src } else { op.dst });
    T::set(cpu, op.dst, value);
    Ok(())
}

fn move_memory<const C: u8, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let source = cpu.load::<T>(op)?;
    let value = if cpu.status.condition(C) { source } else { T::get(cpu, op.dst) };
    T::set(cpu, op.dst, value);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    use iced_x86::Mnemonic as M;
    match instruction.mnemonic() {
        M::Seto
        | M::Setno
        | M::Setb
        | M::Setae
        | M::Sete
        | M::Setne
        | M::Setbe
        | M::Seta
        | M::Sets
        | M::Setns
        | M::Setp
        | M::Setnp
        | M::Setl
        | M::Setge
        | M::Setle
        | M::Setg => match op.kinds[0] {
            Kind::Register => by_condition!(code(instruction)?, set_register),
            _ => by_condition!(code(instruction)?, set_memory),
        },
        M::Cmovo
        | M::Cmovno
        | M::Cmovb
        | M::Cmovae
        | M::Cmove
        | M::Cmovne
        | M::Cmovbe
        | M::Cmova
        | M::Cmovs
        | M::Cmovns
        | M::Cmovp
        | M::Cmovnp
        | M::Cmovl
        | M::Cmovge
        | M::Cmovle
        | M::Cmovg => {
            let code = code(instruction)?;
            match (op.kinds[1], op.width) {
                (Kind::Register, 2) => by_condition!(code, move_register, u16),
                (Kind::Register, 4) => by_condition!(code, move_register, u32),
                (Kind::Register, 8) => by_condition!(code, move_register, u64),
                (Kind::Memory, 2) => by_condition!(code, move_memory, u16),
                (Kind::Memory, 4) => by_condition!(code, move_memory, u32),
                (Kind::Memory, 8) => by_condition!(code, move_memory, u64),
                _ => None,
            }
        }
        _ => None,
    }
}
