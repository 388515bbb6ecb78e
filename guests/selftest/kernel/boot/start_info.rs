//! Xen's `hvm_start_info` (xen/include/public/arch-x86/hvm/start_info.h).

use super::info::{BootInfo, Protocol, Range, copy_string};

const MAGIC: u32 = 0x336e_c578;

/// Reads the structure at `address`; false if there is none.
///
/// # Safety
/// `address` must lie in mapped memory.
pub unsafe fn read(info: &mut BootInfo, address: u32) -> bool {
    let base = u64::from(address);
    let short = |offset: u64| unsafe { ((base + offset) as *const u32).read_unaligned() };
    let long = |offset: u64| unsafe { ((base + offset) as *const u64).read_unaligned() };
    if short(0) != MAGIC {
        return false;
    }
    let version = short(4);
    info.protocol = Protocol::Pvh(version);
    if long(24) != 0 {
        unsafe { copy_string(&mut info.command_line, long(24)) };
    }
    info.rsdp = long(32);
    if version >= 1 {
        let (table, entries) = (long(40), u64::from(short(48)));
        for index in 0..entries.min(super::info::RANGES as u64) {
            let entry = table + index * 24;
            info.push(unsafe {
                Range {
                    start: (entry as *const u64).read_unaligned(),
                    size: ((entry + 8) as *const u64).read_unaligned(),
                    kind: ((entry + 16) as *const u32).read_unaligned(),
                }
            });
        }
    }
    true
}
