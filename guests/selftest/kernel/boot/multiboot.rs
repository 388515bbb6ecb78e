//! The multiboot 1 information structure (specification 0.6.96, section 3.3).

use super::info::{BootInfo, Protocol, Range};
use super::structure::{copy_string, quad, word};

/// EAX at entry.
pub const MAGIC: u32 = 0x2bad_b002;

const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MEMORY_MAP: u32 = 1 << 6;

/// Reads the structure at `address` into `info`.
pub fn read(info: &mut BootInfo, address: u32) {
    let field = |offset: u64| u64::from(word(u64::from(address) + offset));
    info.protocol = Protocol::Multiboot;
    let flags = word(address.into());
    if flags & HAS_COMMAND_LINE != 0 {
        copy_string(&mut info.command_line, field(16));
    }
    if flags & HAS_MEMORY_MAP != 0 {
        let (length, start) = (field(44), field(48));
        let mut offset = 0;
        while offset + 24 <= length {
            let entry = start + offset;
            info.push(Range { start: quad(entry + 4), size: quad(entry + 12), kind: word(entry + 20) });
            // The size field does not count itself.
            offset += u64::from(word(entry).max(20)) + 4;
        }
    }
}
