//! Where code and data of a case lie: the same linear addresses in the child and in the guest.
//!
//! ```text
//!  CODE   1000_0000  code, code, —                      read, write and execute
//!  EXIT   1800_0000  where a sequence ends              read and execute
//!  ARENA  2000_0000  —, data, data, constants, —, data, —
//!                       rw    rw    read-only       rw
//! ```
//!
//! Code may be written, because self-modifying code has to work. All of it lies below 2 GiB, so that
//! absolute, RIP-relative and 32-bit addresses reach it. A dash is a page that is not mapped. The contents of
//! the four data pages are one *image* of 16 KiB, in this order; the pages of a case start as the run's
//! background image with the case's patches over it.

use base::PAGE_SIZE;

/// The first page of code.
pub const CODE: u64 = 0x1000_0000;
/// Bytes of code that are mapped.
pub const CODE_BYTES: usize = 2 * PAGE_SIZE as usize;
/// Where every sequence jumps at its end.
pub const EXIT: u64 = 0x1800_0000;
/// The first page of data.
pub const ARENA: u64 = 0x2000_0000;
/// Bytes of data.
pub const IMAGE_BYTES: usize = 4 * PAGE_SIZE as usize;
/// What code pages hold where a case has put no code: INT3.
pub const CODE_FILL: u8 = 0xcc;

/// A mapped page of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataPage {
    /// Its linear address.
    pub at: u64,
    /// May it be written?
    pub writable: bool,
}

/// The data pages in the order of the image.
pub const DATA: [DataPage; 4] = [
    DataPage { at: ARENA, writable: true },
    DataPage { at: ARENA + PAGE_SIZE, writable: true },
    DataPage { at: ARENA + 2 * PAGE_SIZE, writable: false },
    DataPage { at: ARENA + 4 * PAGE_SIZE, writable: true },
];

/// The linear address of a place in the image, or behind it, in the code pages.
pub fn address(offset: usize) -> u64 {
    if offset >= IMAGE_BYTES {
        return CODE + (offset - IMAGE_BYTES) as u64;
    }
    DATA[offset / PAGE_SIZE as usize].at + offset as u64 % PAGE_SIZE
}

/// The place in the image of a linear address, if its page is mapped.
pub fn offset(address: u64) -> Option<usize> {
    let page = DATA.iter().position(|page| address.wrapping_sub(page.at) < PAGE_SIZE)?;
    Some(page * PAGE_SIZE as usize + (address % PAGE_SIZE) as usize)
}

/// The background image of a run: bytes that depend on the run's seed only.
pub fn background(seed: u64) -> Box<[u8; IMAGE_BYTES]> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x6261_636b_6772_6f75);
    let mut image = Box::new([0; IMAGE_BYTES]);
    random.fill(&mut image[..]);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_in_the_image_has_one_address() {
        for place in [0, 1, 4095, 4096, 3 * 4096 - 1, 3 * 4096, IMAGE_BYTES - 1] {
            assert_eq!(offset(address(place)), Some(place));
        }
        assert_eq!(offset(ARENA - 1), None);
        assert_eq!(offset(ARENA + 3 * PAGE_SIZE), None, "the hole");
        assert_eq!(offset(ARENA + 5 * PAGE_SIZE), None);
    }
}
