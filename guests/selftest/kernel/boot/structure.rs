//! Reading the loader's structures.
//!
//! They lie below 4 GiB, which is mapped one to one, and the loader is trusted: it had the
//! whole machine before us.

use crate::harness::Text;

/// The 32-bit word at `address`.
pub fn word(address: u64) -> u32 {
    // SAFETY: mapped memory by the above; reading it has no effect.
    unsafe { (address as *const u32).read_unaligned() }
}

/// The 64-bit word at `address`.
pub fn quad(address: u64) -> u64 {
    u64::from(word(address + 4)) << 32 | u64::from(word(address))
}

/// Appends the NUL-terminated string at `address` to `text`, as far as there is room.
pub fn copy_string(text: &mut Text, address: u64) {
    for at in address.. {
        // SAFETY: as above; the text's capacity bounds the loop.
        let byte = unsafe { (at as *const u8).read_volatile() };
        if byte == 0 || !text.push(byte) {
            return;
        }
    }
}
