//! A chain of descriptors, read once and checked (2.7.5).
//!
//! The guest may change a descriptor at any time, so each is read exactly once, and what was read is what counts:
//! a chain is a list of checked buffers when it leaves here.

use std::sync::Arc;

use base::{Buffer, GuestMemory, GuestPhys};
use virtio_queue::desc::split::Descriptor;

use crate::mistake::Mistake;

/// Descriptors in a chain, at most, where an indirect table could hold more than the queue.
pub const MOST_DESCRIPTORS: u16 = 1024;

const DESCRIPTOR: u64 = size_of::<Descriptor>() as u64;

/// A request of the driver's.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its first descriptor: how the driver knows it.
    pub head: u16,
    /// What the device is to read.
    pub readable: Buffer,
    /// What the device may write.
    pub writable: Buffer,
}

/// Where descriptors are.
struct Table {
    at: u64,
    entries: u16,
    indirect: bool,
}

/// Reads the chain that begins at `head`.
pub(crate) fn read(
    memory: &Arc<GuestMemory>,
    queue: u16,
    table: u64,
    size: u16,
    head: u16,
    indirect: bool,
) -> Result<Chain, Mistake> {
    let mut table = Table { at: table, entries: size, indirect: false };
    let mut chain = Chain { head, readable: Buffer::new(memory), writable: Buffer::new(memory) };
    let mut index = head;
    let mut left = size.min(MOST_DESCRIPTORS);
    loop {
        let descriptor = table.descriptor(memory, queue, index)?;
        if descriptor.refers_to_indirect_table() {
            if !indirect || table.indirect {
                return Err(Mistake::Indirect(queue));
            }
            table = Table::indirect(queue, &descriptor)?;
            left = table.entries.min(MOST_DESCRIPTORS);
            index = 0;
            continue;
        }
        left = left.checked_sub(1).ok_or(Mistake::TooLong(queue))?;
        chain.add(queue, &descriptor)?;
        if !descriptor.has_next() {
            return Ok(chain);
        }
        index = descriptor.next();
    }
}

impl Table {
    fn indirect(queue: u16, descriptor: &Descriptor) -> Result<Self, Mistake> {
        let len = u64::from(descriptor.len());
        let entries = u16::try_from(len / DESCRIPTOR).map_err(|_| Mistake::Indirect(queue))?;
        if entries == 0 || !len.is_multiple_of(DESCRIPTOR) {
            return Err(Mistake::Indirect(queue));
        }
        Ok(Self { at: descriptor.addr().0, entries, indirect: true })
    }

    fn descriptor(&self, memory: &GuestMemory, queue: u16, index: u16) -> Result<Descriptor, Mistake> {
        if index >= self.entries {
            return Err(Mistake::Descriptor { queue, index });
        }
        let at = GuestPhys(self.at).plus(u64::from(index) * DESCRIPTOR);
        let place = memory.range(at, DESCRIPTOR).map_err(|range| Mistake::Buffer { queue, range })?;
        let mut bytes = [0; DESCRIPTOR as usize];
        memory.read_at(place, &mut bytes);
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Ok(Descriptor::new(
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u32::from_le_bytes([i, j, k, l]),
            u16::from_le_bytes([m, n]),
            u16::from_le_bytes([o, p]),
        ))
    }
}

impl Chain {
    fn add(&mut self, queue: u16, descriptor: &Descriptor) -> Result<(), Mistake> {
        let len = u64::from(descriptor.len());
        if self.readable.len() + self.writable.len() + len > u64::from(u32::MAX) {
            return Err(Mistake::TooLarge(queue));
        }
        let buffer = if descriptor.is_write_only() {
            &mut self.writable
        } else if self.writable.is_empty() {
            &mut self.readable
        } else {
            return Err(Mistake::Order(queue));
        };
        let pushed = buffer.push(GuestPhys(descriptor.addr().0), len);
        pushed.map_err(|range| Mistake::Buffer { queue, range })
    }
}
