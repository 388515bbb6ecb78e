//! Several CPUs. Skipped where the MADT lists one.

pub mod atomics;
pub mod interrupts;
pub mod ordering;
pub mod start;
pub mod translation;
