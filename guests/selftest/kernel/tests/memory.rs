//! Memory, by address.

use core::arch::asm;
use core::hint::black_box;

/// Writes `value` at `address`, whatever its alignment.
pub fn store<T>(address: u64, value: T) {
    // SAFETY: a test's own memory; elsewhere it faults, which tests provoke. The empty
    // instruction keeps the access where it is.
    unsafe {
        (address as *mut T).write_unaligned(value);
        asm!("", options(nostack, preserves_flags));
    }
}

/// Reads a value at `address`, whatever its alignment.
pub fn load<T>(address: u64) -> T {
    // SAFETY: as for `store`.
    unsafe {
        asm!("", options(nostack, preserves_flags));
        black_box((address as *const T).read_unaligned())
    }
}
