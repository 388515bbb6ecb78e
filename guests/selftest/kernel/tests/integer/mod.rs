//! Integer instructions: results and every defined flag.

pub mod alu;
pub mod bits;
pub mod control;
pub mod exchange;
pub mod flags;
mod model;
pub mod moves;
pub mod multiply;
pub mod rotate;
pub mod shift;
pub mod stack;
pub mod strings;
