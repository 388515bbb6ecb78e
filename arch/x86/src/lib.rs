//! The x86-64 architecture as data: registers, the complete CPU state, descriptors, page-table entries,
//! MSRs, exceptions and CPUID models. Nothing here runs anything.
//!
//! References are to the Intel 64 and IA-32 Architectures Software Developer's Manual (“SDM”, volume and
//! section) and the AMD64 Architecture Programmer's Manual (“APM”).

#![deny(missing_docs)]

pub mod control;
mod exception;
pub mod flags;
mod fpu;
pub mod msr;
pub mod paging;
mod register;
mod segment;
mod state;

pub use exception::{ErrorCode, Exception, Vector, page_fault};
pub use fpu::{Fpu, Legacy, xfeature};
pub use register::{Gpr, SegmentRegister};
pub use segment::{Segment, TableRegister, access};
pub use state::{Activity, CpuState, Events, Msrs, Shadow};
