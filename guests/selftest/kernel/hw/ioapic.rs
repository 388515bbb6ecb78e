//! The first I/O APIC.

use crate::acpi;
use crate::harness::{Failure, absent};

/// The mask bit of a redirection entry.
pub const MASKED: u64 = 1 << 16;
/// The trigger mode bit: level.
pub const LEVEL: u64 = 1 << 15;
/// The polarity bit: active low.
pub const LOW: u64 = 1 << 13;

/// An I/O APIC by the address of its page.
#[derive(Clone, Copy)]
pub struct IoApic(u64);

impl IoApic {
    /// The one the MADT names.
    pub fn find() -> Result<Self, Failure> {
        match acpi() {
            Some(acpi) if acpi.ioapic != 0 => Ok(Self(acpi.ioapic)),
            _ => Err(absent(format_args!("the MADT names no I/O APIC"))),
        }
    }

    /// Reads a register by its index.
    pub fn read(self, index: u8) -> u32 {
        // SAFETY: the page is mapped one to one.
        unsafe {
            (self.0 as *mut u32).write_volatile(index.into());
            ((self.0 + 0x10) as *const u32).read_volatile()
        }
    }

    /// Writes a register by its index.
    pub fn write(self, index: u8, value: u32) {
        // SAFETY: as for `read`.
        unsafe {
            (self.0 as *mut u32).write_volatile(index.into());
            ((self.0 + 0x10) as *mut u32).write_volatile(value);
        }
    }

    /// How many inputs it has.
    pub fn inputs(self) -> u8 {
        (self.read(1) >> 16) as u8 + 1
    }

    /// Reads the redirection entry of `input`.
    pub fn entry(self, input: u8) -> u64 {
        u64::from(self.read(0x11 + input * 2)) << 32 | u64::from(self.read(0x10 + input * 2))
    }

    /// Writes the redirection entry of `input`, masked while it changes.
    pub fn route(self, input: u8, entry: u64) {
        self.write(0x10 + input * 2, MASKED as u32);
        self.write(0x11 + input * 2, (entry >> 32) as u32);
        self.write(0x10 + input * 2, entry as u32);
    }

    /// Sends ISA interrupt `irq` to CPU `target` as `vector`, by the MADT's overrides; the input.
    pub fn route_isa(self, irq: u8, vector: u8, target: u32) -> u8 {
        let (input, flags) = acpi().map_or((irq.into(), 0), |acpi| acpi.isa[usize::from(irq & 15)]);
        let polarity = if flags & 3 == 3 { LOW } else { 0 };
        let trigger = if flags >> 2 & 3 == 3 { LEVEL } else { 0 };
        self.route(input as u8, u64::from(target) << 56 | polarity | trigger | u64::from(vector));
        input as u8
    }

    /// Masks every input.
    pub fn mask_all(self) {
        for input in 0..self.inputs() {
            self.route(input, MASKED);
        }
    }
}
