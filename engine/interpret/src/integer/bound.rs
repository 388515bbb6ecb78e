//! BOUND: #BR unless a signed index lies within a pair of bounds in memory.

use iced_x86::{Code, Instruction};
use x86::{Exception, Vector};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::walk::Access;
use crate::width::Width;

fn bound<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let linear = cpu.address(op, 2 * T::SIZE, Access::Read)?;
    let low = cpu.read::<T>(linear, op.segment)?.signed();
    let high = cpu.read::<T>(cpu.wrap(linear.wrapping_add(T::SIZE)), op.segment)?.signed();
    let index = T::get(cpu, op.dst).signed();
    if index < low || index > high {
        return Err(cpu.raise(Exception::new(Vector::BoundRange)));
    }
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Bound_r16_m1616 => bound::<u16>,
        Code::Bound_r32_m3232 => bound::<u32>,
        _ => return None,
    })
}
