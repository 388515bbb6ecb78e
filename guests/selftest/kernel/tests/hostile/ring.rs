//! The rings of a device's queues in memory (virtio 1.2, 2.7), and the rest of the memory that tests use.
//!
//! ```text
//!   1000000  queue 0: table   +2000 available   +3000 used
//!   1004000  queue 1, and so on
//!   1100000  HEAD, STATUS, indirect TABLE; from DATA on, 1 MiB of data
//! ```

use crate::tests::memory::{load, store};

/// Entries of a queue, where it can have so many.
pub const SIZE: u16 = 16;
/// Queues that there is room for.
pub const MOST: u16 = 64;

const RINGS: u64 = 0x100_0000;
const STEP: u64 = 0x4000;
/// The head of a request.
pub const HEAD: u64 = 0x110_0000;
/// Its status.
pub const STATUS: u64 = 0x110_1000;
/// Indirect tables.
pub const TABLE: u64 = 0x110_4000;
/// Its data.
pub const DATA: u64 = 0x120_0000;

/// Descriptor flags.
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// The three parts of a queue.
#[derive(Clone, Copy)]
pub struct Rings {
    pub table: u64,
    pub available: u64,
    pub used: u64,
}

/// A descriptor: address, length, flags, next.
pub type Descriptor = (u64, u32, u16, u16);

/// Where a queue is.
pub fn rings(queue: u16) -> Rings {
    let table = RINGS + u64::from(queue) * STEP;
    Rings { table, available: table + 0x2000, used: table + 0x3000 }
}

/// The same, empty.
pub fn fresh(queue: u16) -> Rings {
    let rings = rings(queue);
    fill(rings.table, STEP, 0);
    rings
}

/// Fills memory.
pub fn fill(at: u64, len: u64, byte: u8) {
    // SAFETY: memory of the tests.
    unsafe { (at as *mut u8).write_bytes(byte, len as usize) }
}

/// Writes an entry of a table.
pub fn describe(table: u64, index: u16, (address, len, flags, next): Descriptor) {
    let at = table + 16 * u64::from(index);
    store(at, address);
    store(at + 8, len);
    store(at + 12, flags);
    store(at + 14, next);
}

/// Writes a chain into a queue's table from `first` on; the flags say what the device may write.
pub fn chain(queue: u16, first: u16, buffers: &[(u64, u32, u16)]) {
    for (n, &(address, len, flags)) in (0..).zip(buffers) {
        let next = if usize::from(n) + 1 == buffers.len() { 0 } else { NEXT };
        describe(rings(queue).table, first + n, (address, len, flags | next, first + n + 1));
    }
}

/// Makes a head available.
pub fn offer(queue: u16, head: u16) {
    let available = rings(queue).available;
    let index: u16 = load(available + 2);
    store(available + 4 + 2 * u64::from(index % SIZE), head);
    set_index(queue, index.wrapping_add(1));
}

/// Writes `avail.idx`. Stores are not reordered on x86.
pub fn set_index(queue: u16, index: u16) {
    store(rings(queue).available + 2, index);
}

/// `used.idx`.
pub fn used_index(queue: u16) -> u16 {
    load(rings(queue).used + 2)
}

/// An entry of the used ring: head and length.
pub fn used(queue: u16, index: u16) -> (u32, u32) {
    let at = rings(queue).used + 4 + 8 * u64::from(index % SIZE);
    (load(at), load(at + 4))
}
