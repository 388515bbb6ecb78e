//! The board: buses, chips, firmware tables, loaders, and the VM's state machine.

pub mod board;
pub mod bus;
pub mod chip;
pub mod pci;
