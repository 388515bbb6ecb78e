//! POP to general registers and memory; POPA. Segment registers belong to `system`.

use iced_x86::{Code, Instruction, Mnemonic};
use x86::Gpr;

use super::{Stack, popped, read};
use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::width::Width;

/// The stack pointer moves first, so that POP rSP leaves what was popped.
fn pop_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (value, stack) = popped::<T>(cpu)?;
    cpu.commit(stack);
    T::set(cpu, op.dst, value);
    Ok(())
}

/// An address based on rSP is worked out from the incremented one.
fn pop_memory<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let (value, stack) = popped::<T>(cpu)?;
    let before = cpu.get(Gpr::Rsp);
    cpu.commit(stack);
    cpu.store(op, value).inspect_err(|_| cpu.set(Gpr::Rsp, before))
}

/// All eight registers; the stack pointer's image is skipped.
fn pop_all<T: Width>(cpu: &mut Cpu, _: &Op) -> Step {
    let mut at = Stack(cpu.get(Gpr::Rsp));
    let mut values = [T::from_u64(0); 8];
    for value in values.iter_mut().rev() {
        *value = read(cpu, at)?;
        at = Stack(at.0.wrapping_add(T::SIZE));
    }
    for (register, value) in (0..).zip(values) {
        if register != Gpr::Rsp as u8 {
            T::set(cpu, register, value);
        }
    }
    cpu.commit(at);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Pop => match op.kinds[0] {
            Kind::Register if !instruction.op_register(0).is_gpr() => None,
            Kind::Register => by_wide_width!(op.width, pop_register),
            Kind::Memory => by_wide_width!(op.width, pop_memory),
            Kind::Immediate | Kind::None => None,
        },
        Mnemonic::Popa if instruction.code() == Code::Popaw => Some(pop_all::<u16>),
        Mnemonic::Popa | Mnemonic::Popad => Some(pop_all::<u32>),
        _ => None,
    }
}
