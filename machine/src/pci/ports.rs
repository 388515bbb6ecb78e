//! CF8h and CFCh. CF8h takes doublewords only; narrower accesses go past it to what lies there on the ISA
//! side, which is the reset control register at CF9h.

use std::sync::Arc;

use engine::Width;

use super::PciBus;
use crate::board::At;
use crate::bus::PortDevice;
use crate::chip::SystemControl;

/// CF8h to CFBh.
pub struct ConfigAddressPort {
    /// The bus.
    pub bus: Arc<PciBus>,
    /// CF9h.
    pub reset_control: At<SystemControl>,
}

impl PortDevice for ConfigAddressPort {
    fn read(&self, offset: u16, width: Width) -> u32 {
        match (offset, width) {
            (0, Width::Dword) => self.bus.address(),
            (1, Width::Byte) => self.reset_control.read(0, width),
            (0, Width::Word) => self.reset_control.read(0, width) << 8 | 0xff,
            (1, Width::Word) => self.reset_control.read(0, width) | 0xff00,
            _ => u32::MAX,
        }
    }

    fn write(&self, offset: u16, width: Width, value: u32) {
        match (offset, width) {
            (0, Width::Dword) => self.bus.set_address(value),
            (1, Width::Byte | Width::Word) => self.reset_control.write(0, Width::Byte, value & 0xff),
            (0, Width::Word) => self.reset_control.write(0, Width::Byte, value >> 8),
            _ => {}
        }
    }
}

/// CFCh to CFFh: the selected register.
pub struct ConfigDataPort(pub Arc<PciBus>);

impl PortDevice for ConfigDataPort {
    fn read(&self, offset: u16, width: Width) -> u32 {
        let Some((slot, register)) = self.0.selected() else { return u32::MAX };
        self.0.config_read(slot, register | offset as u8, width)
    }

    fn write(&self, offset: u16, width: Width, value: u32) {
        if let Some((slot, register)) = self.0.selected() {
            self.0.config_write(slot, register | offset as u8, width, value);
        }
    }
}
