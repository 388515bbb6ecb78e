//! The first 64 KiB, where 16-bit code lives.
//!
//! | address | what |
//! |---|---|
//! | 0 | real-mode vectors |
//! | 6f00h | words shared with the trampoline |
//! | 7000h | the trampoline, its stubs for real-mode vectors at 7400h |
//! | 8000h | start-up code of other CPUs |
//! | 9000h | the 16-bit code under test |
//!
//! The firmware's data there is of no use any more: the loader's information is copied.

/// Words shared with the trampoline.
pub const SHARED: u32 = 0x6f00;
/// The trampoline.
pub const TRAMPOLINE: u32 = 0x7000;
/// The code under test.
pub const CODE: u32 = 0x9000;

/// Copies `code` to `address`.
pub fn place(address: u32, code: &[u8]) {
    // SAFETY: RAM of our own by the table above.
    unsafe { (address as usize as *mut u8).copy_from(code.as_ptr(), code.len()) }
}

/// Reads a 32-bit word.
pub fn read32(address: u32) -> u32 {
    // SAFETY: as for `place`.
    unsafe { (address as usize as *const u32).read_volatile() }
}

/// Writes a 32-bit word.
pub fn write32(address: u32, value: u32) {
    // SAFETY: as for `place`.
    unsafe { (address as usize as *mut u32).write_volatile(value) }
}
