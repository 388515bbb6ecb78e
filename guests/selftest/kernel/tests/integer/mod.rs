//! Integer instructions: results and every defined flag.

pub mod alu;
mod model;
