//! A board that answers whatever the input says.

use std::sync::atomic::{AtomicUsize, Ordering};

use base::GuestPhys;
use engine::{Board, MsrDenied, Width};

/// The answers, one byte after the other; zero when they are used up.
pub struct Answers {
    bytes: Vec<u8>,
    next: AtomicUsize,
}

impl Answers {
    /// These.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), next: AtomicUsize::new(0) }
    }

    fn byte(&self) -> u8 {
        self.bytes.get(self.next.fetch_add(1, Ordering::Relaxed)).copied().unwrap_or(0)
    }

    fn number(&self, width: Width) -> u64 {
        (0..width.bytes()).fold(0, |value, _| value << 8 | u64::from(self.byte()))
    }
}

impl Board for Answers {
    fn port_in(&self, _: u16, width: Width) -> u32 {
        self.number(width) as u32
    }

    fn port_out(&self, _: u16, width: Width, _: u32) {
        assert!(width != Width::Qword, "ports are at most 32 bits wide");
    }

    fn mmio_read(&self, _: GuestPhys, width: Width) -> u64 {
        self.number(width)
    }

    fn mmio_write(&self, _: GuestPhys, width: Width, value: u64) {
        assert_eq!(value & !width.ones(), 0, "a store is as wide as it says");
    }

    fn msr_read(&self, _: u32) -> Result<u64, MsrDenied> {
        if self.byte() & 1 == 0 { Err(MsrDenied) } else { Ok(self.number(Width::Qword)) }
    }

    fn msr_write(&self, _: u32, _: u64) -> Result<(), MsrDenied> {
        if self.byte() & 1 == 0 { Err(MsrDenied) } else { Ok(()) }
    }

    fn take_interrupt(&self) -> Option<u8> {
        let vector = self.byte();
        (vector != 0).then_some(vector)
    }

    fn interrupt_waits(&self) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        self.bytes.get(next).is_some_and(|vector| *vector != 0)
    }

    fn task_priority(&self) -> u8 {
        self.byte() & 15
    }

    fn set_task_priority(&self, _: u8) {}

    fn tsc(&self) -> u64 {
        self.next.load(Ordering::Relaxed) as u64 * 1000
    }
}
