//! Configuration space by CF8h and CFCh, and the virtio devices found in it (virtio 1.2, 4.1.4).

use crate::hw::port;

use super::driver::{Driver, Registers};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// The registers that are looked at.
pub const COMMAND: u8 = 0x04;
pub const BAR0: u8 = 0x10;
const CAPABILITIES: u8 = 0x34;
const VENDOR: u32 = 0x1af4;
/// Capability IDs.
const VENDOR_SPECIFIC: u8 = 9;
const MSIX: u8 = 0x11;

/// Reads a doubleword of device `device`'s function 0.
pub fn read(device: u8, register: u8) -> u32 {
    port::write32(ADDRESS, ENABLE | u32::from(device) << 11 | u32::from(register & 0xfc));
    port::read32(DATA)
}

/// Writes one.
pub fn write(device: u8, register: u8, value: u32) {
    port::write32(ADDRESS, ENABLE | u32::from(device) << 11 | u32::from(register & 0xfc));
    port::write32(DATA, value);
}

fn byte(device: u8, register: u8) -> u8 {
    (read(device, register) >> (8 * (register & 3))) as u8
}

/// True if there is a function 0.
pub fn exists(device: u8) -> bool {
    read(device, 0) & 0xffff != 0xffff
}

/// The virtio devices, by device number.
pub fn virtio() -> impl Iterator<Item = Driver> {
    (0..32).filter_map(find)
}

fn find(device: u8) -> Option<Driver> {
    let identity = read(device, 0);
    let kind = (identity >> 16).checked_sub(0x1040)?;
    if identity & 0xffff != VENDOR {
        return None;
    }
    // Memory, and bus master, which no firmware does for a driver.
    write(device, COMMAND, 2 | 4);
    let bar = u64::from(read(device, BAR0) & !15);
    let mut registers = Registers { bar, ..Registers::default() };
    let mut at = byte(device, CAPABILITIES);
    // A list that leads in circles is not followed for ever.
    for _ in 0..48 {
        if at == 0 {
            break;
        }
        let place = bar + u64::from(read(device, at + 8));
        match (byte(device, at), byte(device, at + 3)) {
            (VENDOR_SPECIFIC, 1) => registers.common = place,
            (VENDOR_SPECIFIC, 2) => {
                registers.notify = place;
                registers.step = read(device, at + 16).into();
            }
            (VENDOR_SPECIFIC, 3) => registers.interrupt = place,
            (VENDOR_SPECIFIC, 4) => registers.config = place,
            (MSIX, _) => {
                registers.msix = at;
                registers.table = bar + u64::from(read(device, at + 4) & !7);
            }
            _ => {}
        }
        at = byte(device, at + 1);
    }
    Some(Driver { device, kind: kind as u16, registers })
}
