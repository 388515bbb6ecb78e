//! Loads and stores that may fault, on any thread, for handlers that go on where R10 points.
//!
//! The access says by a number in R11 that it dares to fault. A handler that clears R11 makes it tell that it has; so that
//! handler keeps nothing, and many threads may fault at once.

#![allow(unsafe_code)] // faults on purpose

use std::arch::asm;

/// What is in R11 meanwhile.
pub const DARING: i64 = 0x5afe_7070_5afe_7070;

/// Reads eight bytes; `None` where a handler has cleared R11.
pub fn load(address: usize) -> Option<u64> {
    let (mut value, mut daring) = (0_u64, DARING);
    // SAFETY: a load changes nothing, and a fault of it ends at the label.
    unsafe {
        asm!(
            "lea r10, [rip + 2f]",
            "mov {value}, qword ptr [{address}]",
            "2:",
            address = in(reg) address,
            value = inout(reg) value,
            out("r10") _,
            inout("r11") daring,
        );
    }
    (daring == DARING).then_some(value)
}

/// Writes eight bytes; false where a handler has cleared R11.
///
/// # Safety
/// If the address is mapped for writing, nobody relies on what is there.
pub unsafe fn store(address: usize, value: u64) -> bool {
    let mut daring = DARING;
    // SAFETY: as the caller promises; a fault ends at the label.
    unsafe {
        asm!(
            "lea r10, [rip + 2f]",
            "mov qword ptr [{address}], {value}",
            "2:",
            address = in(reg) address,
            value = in(reg) value,
            out("r10") _,
            inout("r11") daring,
        );
    }
    daring == DARING
}
