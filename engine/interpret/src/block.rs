//! Decoded blocks and the cache that keeps them.
//!
//! A block is straight-line code within one page, keyed by where it lies in RAM and the size of its code:
//! processes that share a page share its blocks, and another virtual alias finds the same ones. It is
//! valid while the page's generation (see [`base::Watch`]) is the one it was decoded under.

use base::{GuestMemory, PAGE_SIZE, RamOffset};
use engine::CpuModel;

use crate::decode::{Decoded, LONGEST, decode};
use crate::op::Op;

/// The most instructions in a block: an interrupt waits no longer than that.
const MOST: usize = 32;
/// Slots of the cache.
const SLOTS: usize = 1 << 15;

/// Straight-line code.
#[derive(Debug)]
pub(crate) struct Block {
    start: RamOffset,
    generation: u64,
    bits: u8,
    /// Bytes of code.
    pub bytes: u16,
    /// Its instructions; never empty.
    pub ops: Box<[Op]>,
}

/// The blocks of one vCPU: a table of pairs of slots, so its memory is bounded. A block may lie in either
/// slot of its pair: with only one place for it a loop of two blocks that share it would decode them for ever.
#[derive(Debug)]
pub(crate) struct BlockCache {
    slots: Vec<Option<Block>>,
    /// One bit a slot that may hold a block, so that forgetting a few blocks costs little.
    filled: Box<[u64; SLOTS / 64]>,
    /// Blocks decoded.
    pub decoded: u64,
    /// Blocks found stale.
    pub invalidated: u64,
}

impl Default for BlockCache {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| None).collect(),
            filled: Box::new([0; SLOTS / 64]),
            decoded: 0,
            invalidated: 0,
        }
    }
}

impl BlockCache {
    /// The block at `start`, where `rip` points, in code of `bits`. `None` if the instruction there runs on
    /// into the next page, or another CPU writes it just now.
    #[inline(always)]
    pub fn at(
        &mut self,
        memory: &GuestMemory,
        model: &CpuModel,
        start: RamOffset,
        rip: u64,
        bits: u8,
    ) -> Option<&Block> {
        let first = slot(start);
        let slot = match () {
            () if self.holds(first, memory, start, bits) => first,
            () if self.holds(first ^ 1, memory, start, bits) => first ^ 1,
            () => self.fill(first, memory, model, start, rip, bits),
        };
        self.slots[slot].as_ref()
    }

    /// Is this block in this slot, and still what memory holds?
    #[inline(always)]
    fn holds(&self, slot: usize, memory: &GuestMemory, start: RamOffset, bits: u8) -> bool {
        self.slots[slot].as_ref().is_some_and(|block| {
            block.start == start
                && block.bits == bits
                && block.generation == memory.watch().generation(start.page())
        })
    }

    /// The slot of a pair that is to give way: one whose block is gone or stale, else either by turns.
    fn victim(&self, first: usize, memory: &GuestMemory) -> usize {
        let idle = |slot: &usize| {
            self.slots[*slot]
                .as_ref()
                .is_none_or(|block| block.generation != memory.watch().generation(block.start.page()))
        };
        let pair = [first, first ^ 1];
        pair.into_iter().find(idle).unwrap_or(pair[(self.decoded & 1) as usize])
    }

    /// Decodes a block into a slot of the pair of `first`; gives the slot, empty if there is no block.
    #[cold]
    #[inline(never)]
    fn fill(
        &mut self,
        first: usize,
        memory: &GuestMemory,
        model: &CpuModel,
        start: RamOffset,
        rip: u64,
        bits: u8,
    ) -> usize {
        let slot = self.victim(first, memory);
        if self.slots[slot].as_ref().is_some_and(|b| b.start == start && b.bits == bits) {
            self.invalidated += 1;
        }
        self.slots[slot] = None;
        let left = (PAGE_SIZE - start.0 % PAGE_SIZE) as usize;
        let span = left.min(MOST * LONGEST);
        // What is watched is what the block turns out to cover, so the bytes are read once to find that out.
        let mut code = [0; MOST * LONGEST];
        let code = &mut code[..span];
        memory.read_at(start, code);
        let ops = decode_block(model, code, rip, bits);
        let bytes: usize = ops.iter().map(|op| usize::from(op.len)).sum();
        if bytes == 0 {
            return slot;
        }
        let generation = memory.watch().cache_code(start, bytes as u64);
        // Read again under the watch: if another CPU wrote meanwhile, leave it to the next look. Who comes for the block
        // executes one instruction without it, so a CPU that writes all the time holds nobody up.
        let mut again = [0; MOST * LONGEST];
        memory.read_at(start, &mut again[..bytes]);
        if again[..bytes] != code[..bytes] {
            return slot;
        }
        self.decoded += 1;
        self.filled[slot / 64] |= 1 << (slot % 64);
        self.slots[slot] = Some(Block { start, generation, bits, bytes: bytes as u16, ops });
        slot
    }

    /// Forgets everything: the CPU model's answer to the same bytes may have changed.
    pub fn clear(&mut self) {
        for (word, slots) in self.filled.iter_mut().zip(self.slots.chunks_mut(64)) {
            while *word != 0 {
                slots[word.trailing_zeros() as usize] = None;
                *word &= *word - 1;
            }
        }
    }
}

fn decode_block(model: &CpuModel, code: &[u8], rip: u64, bits: u8) -> Box<[Op]> {
    let mut ops = Vec::with_capacity(8);
    let mut at = 0;
    while ops.len() < MOST && at < code.len() {
        match decode(model, &code[at..], rip.wrapping_add(at as u64), bits) {
            Decoded::Op(op) => {
                at += usize::from(op.len);
                ops.push(op);
                if op.ends_block {
                    break;
                }
            }
            Decoded::Incomplete => break,
        }
    }
    ops.into_boxed_slice()
}

#[inline(always)]
fn slot(start: RamOffset) -> usize {
    (start.0 ^ start.0 >> SLOTS.ilog2()) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::CpuLevel;

    #[test]
    fn clearing_forgets_every_block() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let model = CpuModel { level: CpuLevel::V1, vcpus: 1 };
        let mut cache = BlockCache::default();
        let starts = [0, 0x7ff, 0x8000, 0xf_f000].map(RamOffset);
        let fill = |cache: &mut BlockCache| {
            starts.iter().for_each(|&start| assert!(cache.at(&memory, &model, start, 0, 64).is_some()));
            cache.decoded
        };
        assert_eq!(fill(&mut cache), 4);
        assert_eq!(fill(&mut cache), 4, "all are kept");
        cache.clear();
        assert_eq!(fill(&mut cache), 8);
    }

    #[test]
    fn two_blocks_of_one_pair_are_both_kept() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let model = CpuModel { level: CpuLevel::V1, vcpus: 1 };
        let mut cache = BlockCache::default();
        let other = (1..1 << 20).find(|&at| slot(RamOffset(at)) == slot(RamOffset(0))).unwrap();
        for _ in 0..10 {
            for start in [0, other].map(RamOffset) {
                assert!(cache.at(&memory, &model, start, 0, 64).is_some());
            }
        }
        assert_eq!(cache.decoded, 2);
        // A stale one gives way before a good one.
        memory.store(RamOffset(0), 0x90u8);
        assert!(cache.at(&memory, &model, RamOffset(0), 0, 64).is_some());
        assert!(cache.at(&memory, &model, RamOffset(other), 0, 64).is_some());
        assert_eq!((cache.decoded, cache.invalidated), (3, 1));
    }
}
