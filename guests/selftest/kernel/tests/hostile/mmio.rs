//! Accesses of an exact width, at any address.

use core::arch::asm;

/// Where a PC has its I/O APIC.
pub const IO_APIC: u64 = 0xfec0_0000;
/// Where ours has its configuration space in memory (ACPI's MCFG).
pub const ECAM: u64 = 0xe000_0000;

/// A width in bytes: 1, 2, 4 or 8.
pub const WIDTHS: [u64; 4] = [1, 2, 4, 8];

/// Reads `width` bytes in one instruction.
pub fn read(at: u64, width: u64) -> u64 {
    let value: u64;
    // SAFETY: device registers, and memory of the test; both are mapped.
    unsafe {
        match width {
            1 => asm!("movzx {0:e}, byte ptr [{1}]", out(reg) value, in(reg) at, options(nostack)),
            2 => asm!("movzx {0:e}, word ptr [{1}]", out(reg) value, in(reg) at, options(nostack)),
            4 => asm!("mov {0:e}, [{1}]", out(reg) value, in(reg) at, options(nostack)),
            _ => asm!("mov {0}, [{1}]", out(reg) value, in(reg) at, options(nostack)),
        }
    }
    value
}

/// Writes `width` bytes in one instruction.
pub fn write(at: u64, width: u64, value: u64) {
    // SAFETY: as for `read`.
    unsafe {
        match width {
            1 => asm!("mov [{0}], {1}", in(reg) at, in(reg_byte) value as u8, options(nostack)),
            2 => asm!("mov [{0}], {1:x}", in(reg) at, in(reg) value, options(nostack)),
            4 => asm!("mov [{0}], {1:e}", in(reg) at, in(reg) value, options(nostack)),
            _ => asm!("mov [{0}], {1}", in(reg) at, in(reg) value, options(nostack)),
        }
    }
}
