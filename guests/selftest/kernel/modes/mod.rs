//! Excursions: code run outside of long mode, and the way back from wherever it ended.

mod descriptors;
mod excursion;
mod low;
mod real;

pub use descriptors::{data_segment, task_segment};
pub use excursion::{Ended, Excursion, Fault, Registers, reset, set_gate};
pub use low::{CODE as LOW_CODE, place};
pub use real::{run_protected16, run_real};
