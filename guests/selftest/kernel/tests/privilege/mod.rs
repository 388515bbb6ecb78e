//! Rings: how to get from one to another, and what each may do.

pub mod bases;
pub mod call_gate;
pub mod far;
pub mod io;
pub mod iret;
pub mod ring3;
pub mod segments;
pub mod syscall;
pub mod sysenter;
