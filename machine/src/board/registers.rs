//! Registers whose width or neighbourhood is special, between the buses and their chips.

use std::sync::Arc;

use engine::Width;

use super::interrupts::Interrupts;
use super::seat::Seat;
use crate::bus::{MmioDevice, PortDevice};
use crate::chip::{Chip, PowerManagement};

/// The two ports of one 8259.
pub struct PicPorts {
    /// Where the chips are.
    pub interrupts: Arc<Interrupts>,
    /// Is it the slave?
    pub slave: bool,
}

impl PortDevice for PicPorts {
    fn read(&self, offset: u16, _: Width) -> u32 {
        self.interrupts.with_pic(|pic| pic.read(self.slave, offset == 1)).into()
    }

    fn write(&self, offset: u16, _: Width, value: u32) {
        self.interrupts.with_pic(|pic| pic.write(self.slave, offset == 1, value as u8));
    }
}

/// ELCR: 4D0h for the master, 4D1h for the slave.
pub struct ElcrPorts(pub Arc<Interrupts>);

impl PortDevice for ElcrPorts {
    fn read(&self, offset: u16, _: Width) -> u32 {
        self.0.with_pic(|pic| pic.elcr(offset == 1)).into()
    }

    fn write(&self, offset: u16, _: Width, value: u32) {
        self.0.with_pic(|pic| pic.set_elcr(offset == 1, value as u8));
    }
}

/// The I/O APIC's page. The data sheet wants aligned doublewords; narrower loads give their part of the
/// doubleword, narrower stores reach the index register only, which is a byte wide.
pub struct IoApicPage(pub Arc<Interrupts>);

impl MmioDevice for IoApicPage {
    fn read(&self, offset: u64, _: Width) -> u64 {
        u64::from(self.0.read_io_apic(offset & !3)) >> (8 * (offset & 3))
    }

    fn write(&self, offset: u64, width: Width, value: u64) {
        if width == Width::Dword || offset == 0 {
            self.0.write_io_apic(offset, value as u32);
        }
    }
}

/// The ACPI registers: the timer answers doublewords in one piece.
pub struct PmPorts(pub Arc<Seat<PowerManagement>>);

impl PmPorts {
    const TIMER: u16 = 8;
}

impl PortDevice for PmPorts {
    fn read(&self, offset: u16, width: Width) -> u32 {
        if offset == Self::TIMER && width == Width::Dword {
            return self.0.with(|_, now| PowerManagement::timer(now));
        }
        self.0.with(|pm, now| {
            (0..width.bytes() as u16)
                .rev()
                .fold(0, |value, n| value << 8 | u32::from(pm.read(offset + n, now)))
        })
    }

    fn write(&self, offset: u16, width: Width, value: u32) {
        self.0.with(|pm, now| {
            for n in 0..width.bytes() as u16 {
                pm.write(offset + n, (value >> (8 * n)) as u8, now);
            }
        });
    }
}
