//! A placed block, packed: a kernel and its programs make some hundred thousand.

use crate::emit::block::Key;

/// No block, no page, no link.
pub(super) const NONE: u32 = u32::MAX;

/// A placed block.
pub(crate) struct Block {
    key: PackedKey,
    /// Offset of its first byte (the far entry) in the cache.
    pub host: u32,
    pub(super) len: u32,
    pub(super) near: u16,
    pub(super) stale: u16,
    page: u32,
    /// The RAM page that the block's only instruction runs on into.
    second: u32,
    /// Where its places begin in the list of all.
    pub(super) places: u32,
    /// The first of the links that lead here.
    pub(super) incoming: u32,
    pub start: u16,
    pub(super) live: bool,
    /// Jumps have come here by the jump cache.
    pub(super) door: bool,
}

/// What a block is made from.
pub(super) struct Origin {
    pub page: usize,
    pub second: Option<usize>,
    pub key: Key,
    pub start: u16,
}

/// Where a block lies, all but the first in bytes from the start of the block.
pub(super) struct Extent {
    pub host: u32,
    pub len: u32,
    pub near: u32,
    pub stale: u32,
}

impl Block {
    pub(super) fn new(origin: &Origin, extent: &Extent, places: u32) -> Self {
        let (&Origin { page, second, key, start }, &Extent { host, len, near, stale }) = (origin, extent);
        Self {
            key: PackedKey::of(key),
            host,
            len,
            near: near as u16,
            stale: stale as u16,
            page: page as u32,
            second: second.map_or(NONE, |page| page as u32),
            places,
            incoming: NONE,
            start,
            live: true,
            door: false,
        }
    }

    /// The near entry.
    pub fn near(&self) -> u32 {
        self.host + u32::from(self.near)
    }

    /// The RAM page of its code.
    pub fn page(&self) -> usize {
        self.page as usize
    }

    /// The RAM page that the block's only instruction runs on into.
    pub fn second(&self) -> Option<usize> {
        (self.second != NONE).then_some(self.second as usize)
    }

    /// What it depends on besides its bytes.
    pub fn key(&self) -> Key {
        self.key.unpack()
    }

    pub(super) fn has_key(&self, key: Key) -> bool {
        self.key == PackedKey::of(key)
    }
}

const _: () = assert!(size_of::<Block>() == 40);

/// A key in one word: the address of the page, and a bit for each of the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PackedKey(u64);

impl PackedKey {
    /// There is an address.
    const PLACED: u64 = 1 << 11;
    /// The lowest bit of the space, of three.
    const SPACE: u32 = 8;

    fn of(key: Key) -> Self {
        let Key { user, fpu, avx, direction, at, space, counter, bases, single, direct } = key;
        let bits = [user, fpu, avx, direction, counter, bases, single, direct];
        let low = (0..).zip(bits).map(|(n, bit)| u64::from(bit) << n).sum::<u64>();
        Self(at.map_or(0, |page| page | Self::PLACED) | u64::from(space) << Self::SPACE | low)
    }

    fn unpack(self) -> Key {
        let has = |n: u32| self.0 >> n & 1 != 0;
        let at = (self.0 & Self::PLACED != 0).then_some(self.0 & !0xfff);
        Key {
            user: has(0),
            fpu: has(1),
            avx: has(2),
            direction: has(3),
            at,
            space: (self.0 >> Self::SPACE & 7) as u8,
            counter: has(4),
            bases: has(5),
            single: has(6),
            direct: has(7),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_key_is_the_key() {
        for bits in 0..1u32 << 11 {
            let has = |n: u32| bits >> n & 1 != 0;
            for at in [None, Some(0), Some(0xffff_ffff_8100_0000)] {
                let key = Key {
                    user: has(0),
                    fpu: has(1),
                    avx: has(2),
                    direction: has(3),
                    at,
                    space: (bits >> 8) as u8,
                    counter: has(4),
                    bases: has(5),
                    single: has(6),
                    direct: has(7),
                };
                assert_eq!(PackedKey::of(key).unpack(), key);
            }
        }
    }
}
