//! The host bridge: Q35's, so that guests know what they are on. It decodes nothing.

use std::sync::Mutex;

use base::{Record, RestoreError, Saved};
use engine::Width;

use super::{ConfigSpace, Identity, PciFunction, Window};
use crate::board::lock;

/// Device 0.
pub struct HostBridge(Mutex<ConfigSpace>);

impl Default for HostBridge {
    fn default() -> Self {
        Self(Mutex::new(ConfigSpace::new(Identity {
            vendor: 0x8086,
            device: 0x29c0,
            class: 0x06_0000,
            revision: 2,
            subsystem: (0x8086, 0x29c0),
            pin: 0,
        })))
    }
}

impl PciFunction for HostBridge {
    fn config_read(&self, register: u8, width: Width) -> u32 {
        lock(&self.0).read(register, width)
    }

    fn config_write(&self, register: u8, width: Width, value: u32) {
        lock(&self.0).write(register, width, value);
    }

    fn windows(&self) -> Vec<Window> {
        Vec::new()
    }

    fn read(&self, _: u8, _: u64, width: Width) -> u64 {
        width.ones()
    }

    fn write(&self, _: u8, _: u64, _: Width, _: u64) {}

    fn reset(&self) {
        lock(&self.0).reset();
    }

    fn save(&self) -> Record {
        lock(&self.0).to_record()
    }

    fn restore(&self, record: &Record) -> Result<(), RestoreError> {
        lock(&self.0).restore_record(record)
    }
}
