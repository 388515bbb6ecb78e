//! What one vCPU sees of the board.

use std::sync::Arc;

use base::GuestPhys;
use engine::{Board, MsrDenied, Width};

use super::mainboard::Mainboard;
use crate::pci::Space;

/// A vCPU's port to the board.
pub struct CpuPort {
    board: Arc<Mainboard>,
    cpu: usize,
}

impl CpuPort {
    /// The port of vCPU number `cpu`.
    pub fn new(board: Arc<Mainboard>, cpu: usize) -> Self {
        Self { board, cpu }
    }

    /// A load from the local APIC's page. A doubleword is one register; of anything else each byte is that
    /// of its doubleword.
    fn read_apic(&self, offset: u32, width: Width) -> u64 {
        self.board.interrupts.with_apic(self.cpu, |apic, now| {
            if width == Width::Dword && offset & 3 == 0 {
                return apic.read_page(offset, now).into();
            }
            (0..width.bytes() as u32).rev().fold(0, |value, n| {
                let at = offset + n;
                let byte =
                    if at < 0x1000 { apic.read_page(at & !3, now) >> (8 * (at & 3)) & 0xff } else { 0xff };
                value << 8 | u64::from(byte)
            })
        })
    }

    /// A store there. The manual allows aligned doublewords only; others are dropped.
    fn write_apic(&self, offset: u32, width: Width, value: u64) {
        if width == Width::Dword && offset & 15 == 0 {
            let interrupts = &self.board.interrupts;
            let effect =
                interrupts.with_apic(self.cpu, |apic, now| apic.write_page(offset, value as u32, now));
            interrupts.perform(self.cpu, effect);
        }
    }
}

impl Board for CpuPort {
    fn port_in(&self, port: u16, width: Width) -> u32 {
        if self.board.ports.is_claimed(port, width) {
            self.board.ports.read(port, width)
        } else {
            self.board.pci.read(Space::Port, port.into(), width) as u32
        }
    }

    fn port_out(&self, port: u16, width: Width, value: u32) {
        if self.board.ports.is_claimed(port, width) {
            self.board.ports.write(port, width, value);
        } else {
            self.board.pci.write(Space::Port, port.into(), width, value.into());
        }
    }

    fn mmio_read(&self, at: GuestPhys, width: Width) -> u64 {
        if let Some(offset) = self.board.interrupts.apic_offset(self.cpu, at.0) {
            return self.read_apic(offset, width);
        }
        match self.board.mmio.read(at, width) {
            Some(value) => value,
            None => self.board.pci.read(Space::Memory, at.0, width),
        }
    }

    fn mmio_write(&self, at: GuestPhys, width: Width, value: u64) {
        if let Some(offset) = self.board.interrupts.apic_offset(self.cpu, at.0) {
            self.write_apic(offset, width, value);
        } else if !self.board.mmio.write(at, width, value) {
            self.board.pci.write(Space::Memory, at.0, width, value & width.ones());
        }
    }

    fn msr_read(&self, index: u32) -> Result<u64, MsrDenied> {
        self.board.interrupts.with_apic(self.cpu, |apic, now| apic.read_msr(index, now))
    }

    fn msr_write(&self, index: u32, value: u64) -> Result<(), MsrDenied> {
        let interrupts = &self.board.interrupts;
        let effect = interrupts.with_apic(self.cpu, |apic, now| apic.write_msr(index, value, now))?;
        interrupts.perform(self.cpu, effect);
        Ok(())
    }

    fn take_interrupt(&self) -> Option<u8> {
        self.board.interrupts.take(self.cpu)
    }

    fn interrupt_waits(&self) -> bool {
        self.board.interrupts.is_waiting(self.cpu)
    }

    fn task_priority(&self) -> u8 {
        self.board.interrupts.with_apic(self.cpu, |apic, _| apic.task_priority())
    }

    fn set_task_priority(&self, priority: u8) {
        self.board.interrupts.with_apic(self.cpu, |apic, _| apic.set_task_priority(priority & 15));
    }

    fn tsc(&self) -> u64 {
        self.board.clock.now()
    }
}
