//! The configuration space in memory (PCI Express Base Specification 5.0, 7.2.2): 4 KiB for each function of
//! bus 0, of which those here have the first 256 bytes.

use std::sync::Arc;

use base::GuestPhys;
use engine::Width;

use super::{PciBus, Slot};
use crate::bus::MmioDevice;

/// Where it is; ACPI's MCFG says so.
pub const ECAM: GuestPhys = GuestPhys(0xe000_0000);
/// Bytes: one bus.
pub const ECAM_LEN: u64 = 1 << 20;

/// The window.
pub struct Ecam(pub Arc<PciBus>);

/// The function and register of an access, if it stays within an aligned doubleword and the first 256 bytes.
fn place(offset: u64, width: Width) -> Option<(Slot, u8)> {
    let register = u8::try_from(offset & 0xfff).ok()?;
    let whole = u64::from(register & 3) + width.bytes() <= 4;
    whole.then_some((Slot((offset >> 12) as u8), register))
}

impl MmioDevice for Ecam {
    fn read(&self, offset: u64, width: Width) -> u64 {
        place(offset, width)
            .map_or(u64::MAX, |(slot, register)| u64::from(self.0.config_read(slot, register, width)))
    }

    fn write(&self, offset: u64, width: Width, value: u64) {
        if let Some((slot, register)) = place(offset, width) {
            self.0.config_write(slot, register, width, value as u32);
        }
    }
}
