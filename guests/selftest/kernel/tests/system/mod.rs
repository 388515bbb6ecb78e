//! The machine as a whole: identification, model-specific registers, time stamps, code that
//! changes itself, what the loader left.

pub mod boot;
pub mod cpuid;
pub mod msr;
pub mod smc;
pub mod tsc;
pub mod tsc_write;
