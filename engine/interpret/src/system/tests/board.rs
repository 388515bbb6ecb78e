//! A board that answers from a list and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use base::GuestPhys;
use engine::{Board, MsrDenied, Width};

#[derive(Default)]
pub struct TestBoard {
    /// What was written to ports: port, bytes, value.
    pub written: Mutex<Vec<(u16, u64, u32)>>,
    /// How often a port was read; reads give the count in each byte.
    pub reads: AtomicU8,
    /// Its registers.
    pub msrs: Mutex<BTreeMap<u32, u64>>,
    /// The interrupt that waits.
    pub interrupt: Mutex<Option<u8>>,
    pub priority: AtomicU8,
    pub clock: AtomicU64,
}

impl Board for TestBoard {
    fn port_in(&self, _: u16, width: Width) -> u32 {
        let count = u32::from(self.reads.fetch_add(1, Ordering::SeqCst).wrapping_add(1));
        (count * 0x0101_0101) & width.ones() as u32
    }
    fn port_out(&self, port: u16, width: Width, value: u32) {
        self.written.lock().unwrap().push((port, width.bytes(), value));
    }
    fn mmio_read(&self, _: GuestPhys, width: Width) -> u64 {
        width.ones()
    }
    fn mmio_write(&self, _: GuestPhys, _: Width, _: u64) {}
    fn msr_read(&self, index: u32) -> Result<u64, MsrDenied> {
        self.msrs.lock().unwrap().get(&index).copied().ok_or(MsrDenied)
    }
    fn msr_write(&self, index: u32, value: u64) -> Result<(), MsrDenied> {
        self.msrs.lock().unwrap().get_mut(&index).map(|slot| *slot = value).ok_or(MsrDenied)
    }
    fn take_interrupt(&self) -> Option<u8> {
        self.interrupt.lock().unwrap().take()
    }
    fn interrupt_waits(&self) -> bool {
        self.interrupt.lock().unwrap().is_some()
    }
    fn task_priority(&self) -> u8 {
        self.priority.load(Ordering::SeqCst)
    }
    fn set_task_priority(&self, priority: u8) {
        self.priority.store(priority, Ordering::SeqCst);
    }
    fn tsc(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }
}
