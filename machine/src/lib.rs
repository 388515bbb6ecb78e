//! The board: buses, chips, firmware tables, loaders, and the VM's state machine.

pub mod board;
pub mod bus;
pub mod chip;
pub mod firmware;
pub mod load;
pub mod pci;
pub mod vm;

pub use vm::{BuildError, Images, Outcome, StateError, Vm, VmConfig, VmState, Wires};
