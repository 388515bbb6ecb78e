//! Page tables, and the two windows in which tests map what they like.
//!
//! | virtual | what |
//! |---|---|
//! | 0 – 4 GiB except the low window | one to one, supervisor, 2 MiB pages |
//! | [`LOW`], 1 GiB | empty; reachable by 32-bit code |
//! | [`HIGH`], 512 GiB | empty |
//!
//! Table frames and test frames come from one pool; [`reset`] takes all of them back.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::cpu;
use crate::sync::Racy;

pub const P: u64 = 1;
pub const W: u64 = 1 << 1;
pub const U: u64 = 1 << 2;
pub const PCD: u64 = 1 << 4;
pub const A: u64 = 1 << 5;
pub const D: u64 = 1 << 6;
/// Page size in a directory entry.
pub const PS: u64 = 1 << 7;
pub const G: u64 = 1 << 8;
pub const NX: u64 = 1 << 63;
/// The address bits of an entry.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The window below 4 GiB.
pub const LOW: u64 = 0x4000_0000;
/// The window above it.
pub const HIGH: u64 = 0x80_0000_0000;
/// RAM for large pages: two of 2 MiB (or one of 4 MiB) that nothing else uses.
pub const LARGE: u64 = 0x80_0000;

const FRAMES: usize = 96;

#[repr(C, align(4096))]
struct Pool([[u64; 512]; FRAMES]);

static POOL: Racy<Pool> = Racy::new(Pool([[0; 512]; FRAMES]));
static NEXT: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static boot_pml4: [u64; 512];
    static boot_pdpt: [u64; 512];
    static boot_pd: [u64; 2048];
}

/// The physical (and virtual) address of a zeroed frame.
pub fn frame() -> u64 {
    let index = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(index < FRAMES, "a test takes more frames than the pool has");
    let frame = POOL.get() as u64 + index as u64 * 4096;
    // SAFETY: a frame of our own that nobody else has.
    unsafe { (frame as *mut u8).write_bytes(0, 4096) };
    frame
}

/// The physical address of the top table.
pub fn root() -> u64 {
    &raw const boot_pml4 as u64
}

/// Puts the tables back to the picture above and forgets all frames.
pub fn reset() {
    let (pml4, pdpt) = (&raw const boot_pml4 as *mut u64, &raw const boot_pdpt as *mut u64);
    // SAFETY: entries of our own tables; nothing runs in the windows.
    unsafe {
        for index in 1..512 {
            pml4.wrapping_add(index).write_volatile(0);
        }
        pdpt.wrapping_add(1).write_volatile(0);
        for index in 0..2048u64 {
            let entry = (&raw const boot_pd as *mut u64).wrapping_add(index as usize);
            // The device area above 3 GiB is not to be cached.
            let cache = if index >= 3 * 512 { PCD } else { 0 };
            entry.write_volatile(index << 21 | PS | W | P | cache);
        }
    }
    NEXT.store(0, Ordering::Relaxed);
    flush();
}

/// Drops every translation, global ones too.
pub fn flush() {
    let cr4 = cpu::cr4();
    cpu::set_cr4(cr4 ^ cpu::cr4_bits::PGE);
    cpu::set_cr4(cr4);
    cpu::set_cr3(cpu::cr3());
}

/// The entry for `address` at `level` (4 is the PML4), its parents made on the way.
pub fn entry(address: u64, level: u32) -> *mut u64 {
    entry_under(root(), address, level)
}

/// As [`entry`], under another top table.
pub fn entry_under(root: u64, address: u64, level: u32) -> *mut u64 {
    let mut table = root;
    for above in (level..=4).rev() {
        let slot = (table as *mut u64).wrapping_add((address >> (3 + 9 * above) & 511) as usize);
        if above == level {
            return slot;
        }
        // SAFETY: a slot of a table of ours.
        unsafe {
            let mut value = slot.read_volatile();
            if value & P == 0 {
                value = frame() | U | W | P;
                slot.write_volatile(value);
            }
            table = value & ADDRESS;
        }
    }
    unreachable!()
}

/// Writes an entry.
pub fn set(entry: *mut u64, value: u64) {
    // SAFETY: `entry` came from `entry` above.
    unsafe { entry.write_volatile(value) }
}

/// Reads an entry.
pub fn get(entry: *const u64) -> u64 {
    // SAFETY: as for `set`.
    unsafe { entry.read_volatile() }
}

/// Maps the 4 KiB page at `address` to `physical` and drops the old translation.
pub fn map(address: u64, physical: u64, flags: u64) {
    set(entry(address, 1), physical | flags | P);
    cpu::invlpg(address);
}

/// Maps a fresh frame at `address` and returns its physical address.
pub fn map_new(address: u64, flags: u64) -> u64 {
    let physical = frame();
    map(address, physical, flags);
    physical
}

/// Copies code into a fresh frame, mapped at `address` for the user to execute.
pub fn map_user_code(address: u64, code: &[u8]) -> u64 {
    let physical = map_new(address, U | W);
    // SAFETY: snippets are shorter than a page.
    unsafe { (physical as *mut u8).copy_from(code.as_ptr(), code.len().min(4096)) };
    physical
}
