//! The MC146818 clock and its memory.

use super::port::{read8, write8};

/// Register A: bit 7 is an update in progress, bits 3 to 0 the periodic rate.
pub const A: u8 = 10;
/// Register B: bit 6 enables the periodic interrupt, bit 2 is binary, bit 1 is 24 hours.
pub const B: u8 = 11;
/// Register C: what interrupted; cleared by reading.
pub const C: u8 = 12;
/// Register D: bit 7 says that time and memory are valid.
pub const D: u8 = 13;

/// Reads register `index`.
pub fn read(index: u8) -> u8 {
    write8(0x70, index);
    read8(0x71)
}

/// Writes register `index`.
pub fn write(index: u8, value: u8) {
    write8(0x70, index);
    write8(0x71, value);
}

/// Disables the clock's interrupts and drops a pending one.
pub fn quiet() {
    write(B, read(B) & 0x8f);
    read(C);
}
