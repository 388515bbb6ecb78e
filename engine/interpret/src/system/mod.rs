//! Privileged and system instructions, and the delivery of events.

mod deliver;

use engine::CpuModel;
use iced_x86::{CpuidFeature, Instruction};

pub(crate) use deliver::Event;

use crate::op::{Exec, Op};

/// Does the CPU model offer the instructions of this feature?
pub(crate) fn offers(_model: &CpuModel, _feature: CpuidFeature) -> bool {
    true
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(_instruction: &Instruction, _op: &mut Op) -> Option<Exec> {
    None
}
