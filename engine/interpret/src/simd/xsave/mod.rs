//! Saving and restoring the extended state.

mod components;
mod fxsave;
mod image;
mod restore;
mod save;
mod xcr;

use iced_x86::Instruction;

use crate::op::Exec;

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    fxsave::lower(instruction)
        .or_else(|| save::lower(instruction))
        .or_else(|| restore::lower(instruction))
        .or_else(|| xcr::lower(instruction))
}
