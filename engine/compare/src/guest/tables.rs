//! What a case's guest has in memory besides the case: page tables, descriptor tables and handlers.
//!
//! ```text
//!  guest-physical          linear                        rights
//!  0000_1000 …  tables     not mapped
//!  0008_0000    GDT, TSS   ffff_8000_0000_0000           supervisor
//!  0008_1000    IDT        ffff_8000_0000_1000           supervisor
//!  0008_2000    handlers   ffff_8000_0000_2000           supervisor: HLT, 16 bytes a vector
//!  0008_3000    stack      ffff_8000_0000_3000           supervisor
//!  0009_0000    image      the data pages of the layout  user, no execute
//!  0009_8000    code       CODE                          user
//!  0009_a000    exit       EXIT                          user: UD2
//! ```

use base::{GuestMemory, GuestPhys, PAGE_SIZE};
use x86::paging::{ACCESSED, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE};
use x86::{Segment, access};

use crate::layout::{CODE, CODE_BYTES, CODE_FILL, DATA, EXIT};

/// RAM of the guest.
pub const RAM: u64 = 1 << 20;
/// The root of the page tables.
pub const ROOT: u64 = 0x1000;
/// The image of the data pages.
pub const IMAGE: u64 = 0x9_0000;
/// The code pages.
pub const CODE_PAGES: u64 = 0x9_8000;
const EXIT_PAGE: u64 = 0x9_a000;
const SYSTEM: u64 = 0x8_0000;
const STACK: u64 = SYSTEM + 3 * PAGE_SIZE;
/// The top of the kernel stack, guest-physical.
pub const STACK_TOP: u64 = STACK + PAGE_SIZE;
/// Where the system's pages are mapped.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// The descriptor tables and the handlers, linear.
pub const GDT: u64 = KERNEL;
/// The task-state segment.
pub const TSS: u64 = KERNEL + 0x100;
/// The interrupt descriptor table.
pub const IDT: u64 = KERNEL + PAGE_SIZE;
/// The first handler.
pub const HANDLERS: u64 = KERNEL + 2 * PAGE_SIZE;
/// Bytes from one handler to the next.
pub const HANDLER_BYTES: u64 = 16;
/// CPUID, HLT: for the question what the CPU offers.
pub const QUESTION: u64 = KERNEL + 0x800;

/// Selectors: as in 64-bit Linux, because a program can read them.
pub mod selector {
    /// Kernel code.
    pub const KERNEL_CS: u16 = 0x10;
    /// Kernel data.
    pub const KERNEL_SS: u16 = 0x18;
    /// User data.
    pub const USER_SS: u16 = 0x2b;
    /// User code.
    pub const USER_CS: u16 = 0x33;
    /// The task register.
    pub const TR: u16 = 0x40;
}

/// A flat code or data segment of this privilege.
pub fn segment(selector: u16, code: bool) -> Segment {
    let kind = if code { access::CODE | access::LONG } else { access::DB };
    let dpl = (selector & 3) << 5;
    let always = access::PRESENT | access::NOT_SYSTEM | access::WRITABLE | access::ACCESSED;
    Segment::flat(selector, always | kind | dpl)
}

/// Writes all of it.
pub fn build(memory: &GuestMemory) {
    let mut tables = Tables { memory, next: ROOT + PAGE_SIZE };
    for (n, page) in DATA.iter().enumerate() {
        let rights = USER | NO_EXECUTE | if page.writable { WRITABLE } else { 0 };
        tables.map(page.at, IMAGE + n as u64 * PAGE_SIZE, rights);
    }
    for at in (0..CODE_BYTES as u64).step_by(PAGE_SIZE as usize) {
        tables.map(CODE + at, CODE_PAGES + at, USER | WRITABLE);
    }
    tables.map(EXIT, EXIT_PAGE, USER);
    for at in (0..4 * PAGE_SIZE).step_by(PAGE_SIZE as usize) {
        tables.map(KERNEL + at, SYSTEM + at, WRITABLE);
    }
    put(memory, CODE_PAGES, &[CODE_FILL; CODE_BYTES]);
    put(memory, EXIT_PAGE, &[0x0f, 0x0b]);
    for (selector, code) in [
        (selector::KERNEL_CS, true),
        (selector::KERNEL_SS, false),
        (selector::USER_SS, false),
        (selector::USER_CS, true),
    ] {
        put_word(memory, SYSTEM + u64::from(selector & !7), segment(selector, code).to_descriptor());
    }
    put_word(memory, SYSTEM + (TSS - GDT) + 4, KERNEL + 4 * PAGE_SIZE); // RSP0
    put(memory, SYSTEM + (TSS - GDT) + 0x66, &[0xff; 2]); // no I/O permission map
    let idt = SYSTEM + PAGE_SIZE;
    for vector in 0..256u64 {
        let handler = HANDLERS + vector * HANDLER_BYTES;
        // INT3 and INTO may be called from user mode.
        let dpl = if matches!(vector, 3 | 4) { 3u64 } else { 0 };
        let low = handler & 0xffff
            | u64::from(selector::KERNEL_CS) << 16
            | (0x8e00 | dpl << 13) << 32
            | (handler >> 16 & 0xffff) << 48;
        put_word(memory, idt + vector * 16, low);
        put_word(memory, idt + vector * 16 + 8, handler >> 32);
        put(memory, SYSTEM + 2 * PAGE_SIZE + vector * HANDLER_BYTES, &[0xf4]);
    }
    put(memory, SYSTEM + QUESTION - KERNEL, &[0x0f, 0xa2, 0xf4]);
}

struct Tables<'a> {
    memory: &'a GuestMemory,
    next: u64,
}

impl Tables<'_> {
    /// Maps a page. All entries are accessed and dirty from the start, so that running changes no table.
    fn map(&mut self, linear: u64, physical: u64, rights: u64) {
        let mut table = ROOT;
        for level in (1..4).rev() {
            let at = table + (linear >> (12 + 9 * level) & 0x1ff) * 8;
            let mut entry = get_word(self.memory, at);
            if entry == 0 {
                entry = self.next | PRESENT | WRITABLE | USER | ACCESSED;
                put_word(self.memory, at, entry);
                self.next += PAGE_SIZE;
            }
            table = entry & x86::paging::ADDRESS;
        }
        let entry = physical | rights | PRESENT | ACCESSED | DIRTY;
        put_word(self.memory, table + (linear >> 12 & 0x1ff) * 8, entry);
    }
}

fn put(memory: &GuestMemory, at: u64, bytes: &[u8]) {
    let written = memory.write(GuestPhys(at), bytes);
    debug_assert!(written.is_ok(), "our own tables lie in RAM");
}

fn put_word(memory: &GuestMemory, at: u64, value: u64) {
    put(memory, at, &value.to_le_bytes());
}

/// Reads eight bytes.
pub fn get_word(memory: &GuestMemory, at: u64) -> u64 {
    let mut bytes = [0; 8];
    let read = memory.read(GuestPhys(at), &mut bytes);
    debug_assert!(read.is_ok(), "our own tables lie in RAM");
    u64::from_le_bytes(bytes)
}
