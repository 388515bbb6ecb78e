//! The board: buses, chips, firmware tables, loaders, and the VM's state machine.
