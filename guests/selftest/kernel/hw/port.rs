//! I/O ports.

use core::arch::asm;

/// Writes a byte to `port`.
pub fn write8(port: u16, value: u8) {
    // SAFETY: the kernel owns the machine; no port write here reaches memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) }
}

/// Reads a byte from `port`.
pub fn read8(port: u16) -> u8 {
    let value;
    // SAFETY: as for `write8`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) }
    value
}

/// Writes a 16-bit word to `port`.
pub fn write16(port: u16, value: u16) {
    // SAFETY: as for `write8`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags)) }
}

/// Reads a 32-bit word from `port`.
pub fn read32(port: u16) -> u32 {
    let value;
    // SAFETY: as for `write8`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags)) }
    value
}

/// Reads a 16-bit word from `port`.
pub fn read16(port: u16) -> u16 {
    let value;
    // SAFETY: as for `write8`.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nostack, preserves_flags)) }
    value
}

/// Writes a 32-bit word to `port`.
pub fn write32(port: u16, value: u32) {
    // SAFETY: as for `write8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) }
}
