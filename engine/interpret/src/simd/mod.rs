//! x87, MMX, SSE and their kin, executed by the host's own CPU.
//!
//! The host has the same instructions, so the exact answer to one, with every rounding and flag, is what the
//! host's CPU gives. Each is wrapped once in a [stub](code), a small function that loads the guest's operands
//! from a [frame], executes the guest's instruction, and stores the results back:
//!
//! ```text
//!  lower:  Instruction ─► Key ─► Stubs ─(new)─► Plan ─► Code ─► Arena
//!  exec:   gate ─► operands, memory ─► frame ─► stub ─► exceptions? ─► memory ─► commit
//! ```
//!
//! Guest memory is read before the stub and written after it, through [`Cpu`](crate::cpu::Cpu)'s ordinary
//! accesses. Registers change last. So whatever faults has changed nothing.
//!
//! Done in software are plain [moves], which need no stub; what touches memory selectively ([mask], [gather]);
//! and what moves the state itself ([x87::control], [xsave]).

mod arena;
mod code;
mod frame;
mod gate;
mod gather;
mod host;
mod mask;
mod mmx;
mod moves;
mod mxcsr;
mod operand;
mod plan;
mod stub;
mod vector;
mod x87;
mod xsave;

use engine::EngineError;
use iced_x86::Instruction;

pub(crate) use host::host_offers;

use crate::op::{Exec, Op};

/// Makes sure that the host lets us execute instructions this way.
///
/// # Errors
/// [`EngineError::Unsupported`] if it refuses executable memory.
pub(crate) fn prepare() -> Result<(), EngineError> {
    vector::prepare()
        .and_then(|()| x87::prepare())
        .map_err(|error| EngineError::Unsupported { engine: "interpret", reason: error.to_string() })
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    moves::lower(instruction, op)
        .or_else(|| mmx::lower(instruction))
        .or_else(|| mxcsr::lower(instruction))
        .or_else(|| xsave::lower(instruction))
        .or_else(|| x87::lower(instruction, op))
        .or_else(|| mask::lower(instruction, op))
        .or_else(|| gather::lower(instruction, op))
        .or_else(|| vector::lower_zero(instruction))
        .or_else(|| vector::lower(instruction, op))
}

#[cfg(test)]
mod tests;
