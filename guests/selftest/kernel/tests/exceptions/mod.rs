//! Exceptions: which, when, with what error code, and where they leave the CPU.

pub mod breakpoints;
pub mod delivery;
pub mod faults;
pub mod shadows;
pub mod step;
