//! A driver in a few lines, which can also do everything wrong. It uses the registers as a guest does: through the
//! bus of a real board.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{GuestMemory, GuestPhys, VirtualClock};
use engine::{Attention, Width};
use machine::board::{Equipment, Mainboard};
use machine::pci::{Slot, Space};
use ringfence_virtio::{Device, VirtioPci};

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

pub const VERSION_1: u64 = 1 << 32;
pub const RING_INDIRECT_DESC: u64 = 1 << 28;
pub const RING_EVENT_IDX: u64 = 1 << 29;

/// Status bits.
pub const DRIVER_OK: u8 = 4;
pub const FEATURES_OK: u8 = 8;
pub const NEEDS_RESET: u8 = 64;

pub const COMMON: u64 = 0;
pub const ISR: u64 = 0x1000;
pub const DEVICE: u64 = 0x2000;
pub const NOTIFY: u64 = 0x3000;

/// PCI's command register, and bits of it.
pub const COMMAND: u8 = 4;
pub const MEMORY: u32 = 2;
pub const MASTER: u32 = 4;

/// 4 MiB of RAM.
pub const RAM: u64 = 4 << 20;
/// Where the rings of queue 0 are; those of queue n are n × `RING_STEP` further on.
pub const RINGS: u64 = 0x10_0000;
pub const RING_STEP: u64 = 0x4000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;

pub struct Driver {
    pub board: Arc<Mainboard>,
    pub memory: Arc<GuestMemory>,
    pub slot: Slot,
    bar: u64,
}

/// A descriptor: address, length, flags, next.
pub type Descriptor = (u64, u32, u16, u16);

impl Driver {
    /// A machine that runs, with this device on its bus.
    pub fn new(device: Box<dyn Device>) -> Self {
        let driver = Self::standing(device);
        driver.board.resume();
        driver
    }

    /// A machine that has not been started yet.
    pub fn standing(device: Box<dyn Device>) -> Self {
        let memory = Arc::new(GuestMemory::new(RAM).unwrap());
        let board = Arc::new(Mainboard::new(Equipment {
            attention: vec![Arc::new(Attention::default())],
            clock: Arc::new(VirtualClock::default()),
            unix_nanoseconds: 0,
            memory: RAM,
            consoles: [const { None }; 4],
        }));
        let plug: machine::pci::Plug =
            Box::new(move |wiring| Ok(Arc::new(VirtioPci::new(device, wiring)?) as Arc<_>));
        let slot = board.plug(&memory, plug).unwrap();
        board.pci.assign();
        board.pci.config_write(slot, COMMAND, Width::Word, MEMORY | MASTER);
        let bar = u64::from(board.pci.config_read(slot, 0x10, Width::Dword) & !15);
        Self { board, memory, slot, bar }
    }

    pub fn read(&self, offset: u64, width: Width) -> u64 {
        self.board.pci.read(Space::Memory, self.bar + offset, width)
    }

    pub fn write(&self, offset: u64, width: Width, value: u64) {
        self.board.pci.write(Space::Memory, self.bar + offset, width, value);
    }

    pub fn status(&self) -> u8 {
        self.read(COMMON + 20, Width::Byte) as u8
    }

    pub fn set_status(&self, status: u8) {
        self.write(COMMON + 20, Width::Byte, status.into());
    }

    /// Resets the device and waits, as drivers do.
    pub fn reset(&self) {
        self.set_status(0);
        wait("the reset", || self.status() == 0);
    }

    pub fn offered(&self) -> u64 {
        let half = |n: u64| {
            self.write(COMMON, Width::Dword, n);
            self.read(COMMON + 4, Width::Dword)
        };
        half(0) | half(1) << 32
    }

    /// Negotiates up to `FEATURES_OK`; true if the device agrees.
    pub fn negotiate(&self, features: u64) -> bool {
        self.reset();
        self.set_status(1 | 2);
        for half in 0..2 {
            self.write(COMMON + 8, Width::Dword, half);
            self.write(COMMON + 12, Width::Dword, features >> (32 * half) & 0xffff_ffff);
        }
        self.set_status(1 | 2 | FEATURES_OK);
        self.status() & FEATURES_OK != 0
    }

    pub fn queues(&self) -> u16 {
        self.read(COMMON + 18, Width::Word) as u16
    }

    pub fn select(&self, queue: u16) {
        self.write(COMMON + 22, Width::Word, queue.into());
    }

    pub fn queue_size(&self, queue: u16) -> u16 {
        self.select(queue);
        self.read(COMMON + 24, Width::Word) as u16
    }

    /// Describes a queue with these addresses and enables it.
    pub fn set_up(&self, queue: u16, size: u16, [table, available, used]: [u64; 3]) {
        self.select(queue);
        self.write(COMMON + 24, Width::Word, size.into());
        for (register, at) in [(32, table), (40, available), (48, used)] {
            self.write(COMMON + register, Width::Dword, at & 0xffff_ffff);
            self.write(COMMON + register + 4, Width::Dword, at >> 32);
        }
        self.write(COMMON + 28, Width::Word, 1);
    }

    pub fn rings(queue: u16) -> [u64; 3] {
        let at = RINGS + u64::from(queue) * RING_STEP;
        [at, at + AVAILABLE, at + USED]
    }

    /// Everything right: all queues with `size` entries (or as many as they can have), and `DRIVER_OK`.
    pub fn start(&self, features: u64, size: u16) {
        assert!(self.negotiate(features | VERSION_1), "the device does not agree");
        for queue in 0..self.queues() {
            let rings = Self::rings(queue);
            self.fill(rings[0], RING_STEP, 0);
            self.set_up(queue, size.min(self.queue_size(queue)), rings);
        }
        self.set_status(1 | 2 | FEATURES_OK | DRIVER_OK);
        assert_eq!(self.status(), 1 | 2 | FEATURES_OK | DRIVER_OK);
    }

    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.memory.write(GuestPhys(at), bytes).unwrap();
    }

    pub fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(GuestPhys(at), &mut bytes).unwrap();
        bytes
    }

    pub fn fill(&self, at: u64, len: u64, byte: u8) {
        self.put(at, &vec![byte; len as usize]);
    }

    fn half(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.get(at))
    }

    /// Writes a descriptor into a table.
    pub fn describe(&self, table: u64, index: u16, (address, len, flags, next): Descriptor) {
        let at = table + 16 * u64::from(index);
        self.put(at, &address.to_le_bytes());
        self.put(at + 8, &len.to_le_bytes());
        self.put(at + 12, &flags.to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }

    /// Writes a chain into the table from `first` on; the flags say which buffers the device writes.
    pub fn chain(&self, queue: u16, first: u16, buffers: &[(u64, u32, u16)]) {
        for (n, &(address, len, flags)) in (0..).zip(buffers) {
            let last = usize::from(n) + 1 == buffers.len();
            let next = if last { 0 } else { NEXT };
            self.describe(Self::rings(queue)[0], first + n, (address, len, flags | next, first + n + 1));
        }
    }

    /// Makes a head available.
    pub fn offer(&self, queue: u16, size: u16, head: u16) {
        let available = Self::rings(queue)[1];
        let index = self.half(available + 2);
        self.put(available + 4 + 2 * u64::from(index % size), &head.to_le_bytes());
        self.set_index(queue, index.wrapping_add(1));
    }

    /// `avail.idx`.
    pub fn set_index(&self, queue: u16, index: u16) {
        self.put(Self::rings(queue)[1] + 2, &index.to_le_bytes());
    }

    pub fn kick(&self, queue: u16) {
        self.write(NOTIFY + 4 * u64::from(queue), Width::Word, queue.into());
    }

    pub fn used_index(&self, queue: u16) -> u16 {
        self.half(Self::rings(queue)[2] + 2)
    }

    /// An entry of the used ring: head and length.
    pub fn used(&self, queue: u16, size: u16, index: u16) -> (u32, u32) {
        let at = Self::rings(queue)[2] + 4 + 8 * u64::from(index % size);
        (u32::from_le_bytes(self.get(at)), u32::from_le_bytes(self.get(at + 4)))
    }

    /// Waits until the device has used so many chains since its start.
    pub fn await_used(&self, queue: u16, count: u16) {
        wait("the device", || {
            assert_eq!(self.status() & NEEDS_RESET, 0, "the device has given up");
            self.used_index(queue) == count
        });
    }

    /// Waits until the device says that it needs a reset.
    pub fn await_mistake(&self) {
        wait("the device to see the mistake", || self.status() & NEEDS_RESET != 0);
    }
}

pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited too long for {what}");
        std::thread::sleep(Duration::from_micros(50));
    }
}
