//! A disk's feature bits and configuration (5.2.3, 5.2.4).

use crate::back::{Facts, SECTOR};

const SEG_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
/// The driver flushes by itself; without it every write is durable when it is done.
pub(super) const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const MULTI_QUEUE: u64 = 1 << 12;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// Buffers of data in a request: the rest of the chain is its head and its status.
const MOST_SEGMENTS: u32 = super::QUEUE_SIZE as u32 - 2;
/// Ranges in a discard or a write of zeroes.
pub(super) const MOST_RANGES: u32 = 32;
/// Sectors in each of them: 1 GiB.
pub(super) const MOST_RANGE_SECTORS: u32 = 1 << 21;

/// The bits.
pub(super) fn features(facts: &Facts, queues: u16) -> u64 {
    let choice = |has, bit| if has { bit } else { 0 };
    SEG_MAX
        | BLK_SIZE
        | FLUSH
        | TOPOLOGY
        | choice(facts.read_only, READ_ONLY)
        | choice(queues > 1, MULTI_QUEUE)
        | choice(facts.discard && !facts.read_only, DISCARD)
        | choice(facts.write_zeroes && !facts.read_only, WRITE_ZEROES)
}

/// `struct virtio_blk_config`.
pub(super) fn bytes(facts: &Facts, queues: u16) -> Vec<u8> {
    let topology = &facts.topology;
    let mut bytes = vec![0; 60];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &facts.sectors.to_le_bytes());
    put(12, &MOST_SEGMENTS.to_le_bytes());
    put(20, &topology.block_size.to_le_bytes());
    put(24, &[topology.physical_exponent, topology.alignment]);
    put(26, &topology.minimum_blocks.to_le_bytes());
    put(28, &topology.optimal_blocks.to_le_bytes());
    put(34, &queues.to_le_bytes());
    for at in [36, 48] {
        put(at, &MOST_RANGE_SECTORS.to_le_bytes());
        put(at + 4, &MOST_RANGES.to_le_bytes());
    }
    put(44, &(topology.block_size / SECTOR as u32).to_le_bytes());
    put(56, &[1]); // a write of zeroes may unmap
    bytes
}
