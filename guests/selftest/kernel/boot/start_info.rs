//! Xen's `hvm_start_info` (xen/include/public/arch-x86/hvm/start_info.h).

use super::info::{BootInfo, Protocol, RANGES, Range};
use super::structure::{copy_string, quad, word};

const MAGIC: u32 = 0x336e_c578;

/// Reads the structure at `address`; false if there is none.
pub fn read(info: &mut BootInfo, address: u32) -> bool {
    let base = u64::from(address);
    if word(base) != MAGIC {
        return false;
    }
    let version = word(base + 4);
    info.protocol = Protocol::Pvh(version);
    if quad(base + 24) != 0 {
        copy_string(&mut info.command_line, quad(base + 24));
    }
    info.rsdp = quad(base + 32);
    if version >= 1 {
        let (table, entries) = (quad(base + 40), u64::from(word(base + 48)));
        for index in 0..entries.min(RANGES as u64) {
            let entry = table + index * 24;
            info.push(Range { start: quad(entry), size: quad(entry + 8), kind: word(entry + 16) });
        }
    }
    true
}
