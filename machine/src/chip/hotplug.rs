//! Where the guest's ACPI code hears which devices of the PCI bus come and go, and says that one may be taken away.
//! There is no standard for it; the registers are ours, and only the DSDT uses them.
//!
//! ```text
//!   620h  came: a bit for each device number; reading clears
//!   624h  is to go: likewise
//!   628h  may be taken away: the guest writes the bits
//! ```

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::ensure;

/// The first port.
pub const HOTPLUG_BASE: u16 = 0x620;
/// Ports.
pub const HOTPLUG_LENGTH: u16 = 12;
/// The general-purpose event that says that there is news.
pub const HOTPLUG_EVENT: u16 = 1;

/// The registers. The struct is its own saved state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hotplug {
    came: u32,
    goes: u32,
}

/// Device 0 is the host bridge, which stays.
const DEVICES: u32 = !1;

impl Hotplug {
    /// A device has come.
    pub fn comes(&mut self, device: u8) {
        self.came |= (1 << device) & DEVICES;
        self.goes &= !(1 << device);
    }

    /// The guest is asked to let go of a device.
    pub fn is_to_go(&mut self, device: u8) {
        self.goes |= (1 << device) & DEVICES;
    }

    /// A doubleword is read.
    pub fn read(&mut self, offset: u16) -> u32 {
        match offset {
            0 => std::mem::take(&mut self.came),
            4 => std::mem::take(&mut self.goes),
            _ => 0,
        }
    }

    /// A doubleword is written. Gives the devices that may be taken away, a bit each.
    pub fn write(&mut self, offset: u16, value: u32) -> u32 {
        if offset != 8 {
            return 0;
        }
        let gone = value & DEVICES;
        self.came &= !gone;
        self.goes &= !gone;
        gone
    }
}

impl Saved for Hotplug {
    type State = Self;
    const KIND: &'static str = "pci-hotplug";
    const VERSION: u16 = 1;

    fn save(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, state: Self) -> Result<(), RestoreError> {
        let Self { came, goes } = &state;
        ensure::<Self>((came | goes) & !DEVICES == 0, "the host bridge neither comes nor goes")?;
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_read_once_and_what_goes_is_named() {
        let mut ports = Hotplug::default();
        ports.comes(3);
        ports.comes(31);
        ports.is_to_go(4);
        ports.is_to_go(0);
        let mut copy = Hotplug::default();
        copy.restore_record(&ports.to_record()).unwrap();
        assert_eq!((copy.read(0), copy.read(0)), (1 << 31 | 1 << 3, 0));
        assert_eq!((copy.read(4), copy.read(4), copy.read(8)), (1 << 4, 0, 0));
        assert_eq!((ports.write(0, 8), ports.write(8, 1 << 3 | 1)), (0, 1 << 3));
        assert_eq!(ports.read(0), 1 << 31, "what is gone did not come");
        assert!(ports.restore(Hotplug { came: 1, goes: 0 }).is_err());
    }
}
