//! Devices that come and go while the machine runs.

use std::io;
use std::time::{Duration, Instant};

use super::Vm;
use crate::pci::{Plug, Slot};

/// How often the guest is looked at that is to let go of a device.
const LOOK: Duration = Duration::from_millis(5);

impl Vm {
    /// Puts a device into the first free slot of the PCI bus and tells the guest. A guest without ACPI finds it at
    /// its next start.
    ///
    /// # Errors
    /// The host's, where it cannot make the device, and where no slot is free.
    pub fn plug(&self, plug: Plug) -> io::Result<Slot> {
        let slot = self.board.plug(&self.memory, plug)?;
        self.board.announce(slot);
        Ok(slot)
    }

    /// Asks the guest to let go of the device in a slot, and waits so long for it to happen. False if it has
    /// not: the guest still may, later.
    pub fn unplug(&self, slot: Slot, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        self.board.ask_back(slot);
        while self.is_plugged(slot) {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Is something in this slot?
    pub fn is_plugged(&self, slot: Slot) -> bool {
        self.board.pci.slots().contains(&slot)
    }
}
