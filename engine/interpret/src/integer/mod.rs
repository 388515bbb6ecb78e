//! Integer instructions.

mod alu;

use iced_x86::Instruction;

use crate::op::{Exec, Op};

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    alu::lower(instruction, op)
}
