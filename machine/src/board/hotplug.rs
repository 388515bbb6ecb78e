//! Devices that come and go while the machine runs: the registers, and the bus behind them.

use std::sync::{Arc, Mutex};

use base::{Record, RestoreError, Saved};
use engine::Width;

use super::seat::{Seat, Seated, lock};
use crate::bus::PortDevice;
use crate::chip::{HOTPLUG_EVENT, Hotplug, PowerManagement};
use crate::pci::{PciBus, Slot};

/// The registers on the board.
pub struct HotplugPorts {
    registers: Mutex<Hotplug>,
    bus: Arc<PciBus>,
    pm: Arc<Seat<PowerManagement>>,
}

impl HotplugPorts {
    /// For this bus; the event goes out through the power management.
    pub fn new(bus: Arc<PciBus>, pm: Arc<Seat<PowerManagement>>) -> Self {
        Self { registers: Mutex::default(), bus, pm }
    }

    /// Tells the guest that a device has come.
    pub fn comes(&self, device: u8) {
        lock(&self.registers).comes(device);
        self.pm.with(|pm, _| pm.raise_event(HOTPLUG_EVENT));
    }

    /// Asks the guest to let go of a device.
    pub fn is_to_go(&self, device: u8) {
        lock(&self.registers).is_to_go(device);
        self.pm.with(|pm, _| pm.raise_event(HOTPLUG_EVENT));
    }

    /// As after reset.
    pub fn reset(&self) {
        *lock(&self.registers) = Hotplug::default();
    }
}

impl PortDevice for HotplugPorts {
    fn read(&self, offset: u16, width: Width) -> u32 {
        if width == Width::Dword { lock(&self.registers).read(offset) } else { u32::MAX }
    }

    fn write(&self, offset: u16, width: Width, value: u32) {
        if width != Width::Dword {
            return;
        }
        let gone = lock(&self.registers).write(offset, value);
        for device in (0..32).filter(|device| gone & 1 << device != 0) {
            if let Some(function) = self.bus.remove(Slot::new(device, 0)) {
                // What stands behind it may take its time to end; a vCPU has none to wait.
                let end = std::thread::Builder::new().name("unplug".to_owned()).spawn(move || drop(function));
                if let Err(error) = end {
                    tracing::warn!(%error, "a device that was unplugged has ended on the guest's time");
                }
            }
        }
    }
}

impl Seated for HotplugPorts {
    fn expire(&self) {}

    fn save(&self) -> Record {
        lock(&self.registers).to_record()
    }

    fn restore(&self, record: &Record) -> Result<(), RestoreError> {
        lock(&self.registers).restore_record(record)
    }
}
