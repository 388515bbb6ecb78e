//! The board: buses, chips, firmware tables, loaders, and the VM's state machine.
//!
//! ```text
//!   vm        a machine's life: build, run, pause, reset, save
//!   ├─ load       kernel files → what to write and where to begin      (pure)
//!   ├─ firmware   memory map, ACPI, SMBIOS                              (pure)
//!   └─ board      seats, interrupt routing, alarm clock, serial ports
//!      ├─ bus     ports and memory-mapped registers, by range
//!      ├─ pci     configuration space and windows of functions
//!      └─ chip    one file per chip                                     (pure)
//! ```
//!
//! Start reading at [`vm`] for the whole and at [`chip`] for one chip. A machine needs an
//! [`engine::Engine`] to run; it does not know which.

#![deny(missing_docs)]

pub mod board;
pub mod bus;
pub mod chip;
pub mod firmware;
pub mod load;
pub mod pci;
pub mod vm;

pub use vm::{
    BuildError, Images, Outcome, RestartError, StateError, VcpuState, Vm, VmConfig, VmRestoreError, VmState,
    Wires,
};
