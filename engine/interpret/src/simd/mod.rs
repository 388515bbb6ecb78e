//! x87, MMX, SSE and their kin, executed by the host's own CPU.

use iced_x86::Instruction;

use crate::op::{Exec, Op};

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(_instruction: &Instruction, _op: &mut Op) -> Option<Exec> {
    None
}
