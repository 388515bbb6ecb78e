//! Saving and restoring the extended state.

mod components;
mod fxsave;
mod image;
mod xcr;
mod xrstor;
mod xsave;

use iced_x86::Instruction;

use crate::op::Exec;

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    fxsave::lower(instruction)
        .or_else(|| xsave::lower(instruction))
        .or_else(|| xrstor::lower(instruction))
        .or_else(|| xcr::lower(instruction))
}
