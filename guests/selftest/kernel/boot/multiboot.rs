//! The multiboot 1 information structure (specification 0.6.96, section 3.3).

use super::info::{BootInfo, Protocol, Range, copy_string};

/// EAX at entry.
pub const MAGIC: u32 = 0x2bad_b002;

const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MEMORY_MAP: u32 = 1 << 6;

/// Reads the structure at `address` into `info`.
///
/// # Safety
/// `address` must be what a multiboot loader left in EBX.
pub unsafe fn read(info: &mut BootInfo, address: u32) {
    let field = |offset: u32| unsafe { ((address + offset) as usize as *const u32).read_volatile() };
    info.protocol = Protocol::Multiboot;
    let flags = field(0);
    if flags & HAS_COMMAND_LINE != 0 {
        unsafe { copy_string(&mut info.command_line, field(16).into()) };
    }
    if flags & HAS_MEMORY_MAP != 0 {
        let (length, start) = (field(44), field(48));
        let mut offset = 0;
        while offset + 24 <= length {
            let entry = u64::from(start + offset);
            let size = unsafe { (entry as *const u32).read_unaligned() };
            info.push(unsafe {
                Range {
                    start: ((entry + 4) as *const u64).read_unaligned(),
                    size: ((entry + 12) as *const u64).read_unaligned(),
                    kind: ((entry + 20) as *const u32).read_unaligned(),
                }
            });
            // The size field does not count itself.
            offset += size.max(20) + 4;
        }
    }
}
