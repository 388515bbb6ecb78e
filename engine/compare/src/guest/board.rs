//! A board with nothing on it.

use base::GuestPhys;
use engine::{Board, MsrDenied, Width};

/// Nothing is there, and time stands still.
#[derive(Debug)]
pub struct Empty;

impl Board for Empty {
    fn port_in(&self, _: u16, width: Width) -> u32 {
        width.ones() as u32
    }

    fn port_out(&self, _: u16, _: Width, _: u32) {}

    fn mmio_read(&self, _: GuestPhys, width: Width) -> u64 {
        width.ones()
    }

    fn mmio_write(&self, _: GuestPhys, _: Width, _: u64) {}

    fn msr_read(&self, _: u32) -> Result<u64, MsrDenied> {
        Err(MsrDenied)
    }

    fn msr_write(&self, _: u32, _: u64) -> Result<(), MsrDenied> {
        Err(MsrDenied)
    }

    fn take_interrupt(&self) -> Option<u8> {
        None
    }

    fn interrupt_waits(&self) -> bool {
        false
    }

    fn task_priority(&self) -> u8 {
        0
    }

    fn set_task_priority(&self, _: u8) {}

    fn tsc(&self) -> u64 {
        0
    }
}
