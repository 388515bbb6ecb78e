//! The x87 FPU.

mod arithmetic;
mod control;
mod environment;
mod registers;

use iced_x86::Instruction;

pub(crate) use registers::Registers;

use crate::op::{Exec, Op};
use crate::simd::arena::ArenaError;

/// Makes sure that stubs can be made.
pub(crate) fn prepare() -> Result<(), ArenaError> {
    arithmetic::prepare()
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    control::lower(instruction)
        .or_else(|| environment::lower(instruction))
        .or_else(|| arithmetic::lower(instruction, op))
}
