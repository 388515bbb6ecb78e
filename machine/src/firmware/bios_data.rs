//! The BIOS data area at 400h, as far as protected-mode kernels look at it.

use base::GuestPhys;

use super::Table;
use super::e820::EBDA;
use crate::board::COM_PORTS;

/// COM1 to COM4, the segment of the extended area, the size of base memory.
pub fn table() -> Table {
    let mut bytes = vec![0; 0x100];
    for (index, port) in COM_PORTS.into_iter().enumerate() {
        bytes[2 * index..2 * index + 2].copy_from_slice(&port.to_le_bytes());
    }
    bytes[0x0e..0x10].copy_from_slice(&((EBDA >> 4) as u16).to_le_bytes());
    bytes[0x13..0x15].copy_from_slice(&((EBDA >> 10) as u16).to_le_bytes());
    Table { at: GuestPhys(0x400), bytes }
}
