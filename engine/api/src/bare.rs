//! A board for tests of engines: nothing on it, except perhaps something where there is no RAM.

use base::GuestPhys;

use crate::board::{Board, MsrDenied, Width};

/// What lies where there is no RAM: is given the address and the width, and for a store its value; gives what a load is
/// answered, of which the width is taken.
type Device = Box<dyn Fn(GuestPhys, Width, Option<u64>) -> u64 + Send + Sync>;

/// A board without ports, MSRs and interrupts, on which time stands still.
pub struct BareBoard(Device);

impl BareBoard {
    /// With this where there is no RAM: called with address and width, and for a store the value; what it gives answers a load.
    pub fn with(device: impl Fn(GuestPhys, Width, Option<u64>) -> u64 + Send + Sync + 'static) -> Self {
        Self(Box::new(device))
    }
}

impl Default for BareBoard {
    /// With nothing there either: loads give all ones.
    fn default() -> Self {
        Self::with(|_, _, _| u64::MAX)
    }
}

impl Board for BareBoard {
    fn port_in(&self, _: u16, width: Width) -> u32 {
        width.ones() as u32
    }

    fn port_out(&self, _: u16, _: Width, _: u32) {}

    fn mmio_read(&self, at: GuestPhys, width: Width) -> u64 {
        (self.0)(at, width, None) & width.ones()
    }

    fn mmio_write(&self, at: GuestPhys, width: Width, value: u64) {
        (self.0)(at, width, Some(value));
    }

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
