//! What a scene has in memory: tables that work, and then changes to them.
//!
//! ```text
//!  00000  interrupt vectors of real mode      08000  GDT        10000  code
//!  01000  PML4                                09000  IDT        20000  data
//!  02000  PDPT                                0a000  TSS
//!  03000  PD, 8-byte entries                  0b000  stack
//!  04000  PT, 8-byte entries: RAM one to one
//!  05000  PD, 4-byte entries
//!  06000  PT, 4-byte entries: RAM one to one
//! ```

use x86::paging::{LARGE, PRESENT, USER, WRITABLE};
use x86::{Segment, access};

use crate::source::Source;

pub const PML4: u64 = 0x1000;
pub const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const PT: u64 = 0x4000;
pub const PD_32: u64 = 0x5000;
const PT_32: u64 = 0x6000;
pub const GDT: u64 = 0x8000;
pub const IDT: u64 = 0x9000;
pub const TSS: u64 = 0xa000;
pub const STACK_TOP: u64 = 0xc000;
pub const CODE: u64 = 0x1_0000;
pub const DATA: u64 = 0x2_0000;

/// Everything that is present may be written and reached by user mode, until it is changed.
const OPEN: u64 = PRESENT | WRITABLE | USER;

/// Selectors of the GDT.
pub mod selector {
    pub const CODE_64: u16 = 0x08;
    pub const CODE_32: u16 = 0x10;
    pub const CODE_16: u16 = 0x18;
    pub const DATA: u16 = 0x20;
    pub const USER_DATA: u16 = 0x2b;
    pub const USER_CODE_32: u16 = 0x33;
    pub const USER_CODE_64: u16 = 0x3b;
    pub const TSS: u16 = 0x40;
}

/// Code and data segments by selector.
pub fn segment(selector: u16) -> Segment {
    use access::{ACCESSED, CODE as CODE_TYPE, DB, LONG, NOT_SYSTEM, PRESENT, WRITABLE};
    let kind = match selector & !3 {
        selector::CODE_64 => CODE_TYPE | LONG,
        selector::CODE_32 => CODE_TYPE | DB,
        selector::CODE_16 => CODE_TYPE,
        0x30 => CODE_TYPE | DB,
        0x38 => CODE_TYPE | LONG,
        _ => DB,
    };
    Segment::flat(selector, PRESENT | NOT_SYSTEM | ACCESSED | WRITABLE | kind | (selector & 3) << 5)
}

/// Pieces of memory: where, and what.
pub type Pieces = Vec<(u64, Vec<u8>)>;

/// Page tables for all modes; `changes` of their entries.
pub fn paging(source: &mut Source<'_>, pieces: &mut Pieces) {
    let mut wide = [[0u64; 512]; 4];
    for at in [0, 1, 255, 256, 510, 511] {
        wide[0][at] = PDPT | OPEN;
    }
    wide[0][257] = PML4 | OPEN; // the table as a page of itself
    for at in [0, 1, 2, 3, 511] {
        wide[1][at] = PD | OPEN;
    }
    wide[1][4] = LARGE | OPEN; // 1 GiB
    for at in [0, 1, 511] {
        wide[2][at] = PT | OPEN;
    }
    wide[2][2] = LARGE | OPEN; // 2 MiB
    for (at, entry) in (0..).zip(&mut wide[3]) {
        *entry = (at % 256) << 12 | OPEN;
    }
    for _ in 0..source.below(12) {
        let (table, at) = (source.below(4), source.below(64));
        change(source, &mut wide[table][at]);
    }
    for (at, table) in [PML4, PDPT, PD, PT].into_iter().zip(&wide) {
        pieces.push((at, table.iter().flat_map(|entry| entry.to_le_bytes()).collect()));
    }
    let mut narrow = [[0u64; 1024]; 2];
    for at in [0, 1, 1023] {
        narrow[0][at] = PT_32 | OPEN;
    }
    narrow[0][2] = LARGE | OPEN; // 4 MiB
    for (at, entry) in (0..).zip(&mut narrow[1]) {
        *entry = (at % 256) << 12 | OPEN;
    }
    for _ in 0..source.below(6) {
        let (table, at) = (source.below(2), source.below(64));
        change(source, &mut narrow[table][at]);
    }
    for (at, table) in [PD_32, PT_32].into_iter().zip(&narrow) {
        pieces.push((at, table.iter().flat_map(|entry| (*entry as u32).to_le_bytes()).collect()));
    }
}

fn change(source: &mut Source<'_>, entry: &mut u64) {
    match source.below(3) {
        0 => *entry ^= 1 << source.below(12),
        1 => *entry ^= 1 << source.below(64),
        _ => *entry = source.qword(),
    }
}

/// GDT, IDT, TSS and the vectors of real mode.
pub fn descriptors(source: &mut Source<'_>, long: bool, pieces: &mut Pieces) {
    let mut gdt = vec![0u64; 32];
    for at in 1..8u16 {
        let rpl = if at >= 5 { 3 } else { 0 };
        gdt[usize::from(at)] = segment(at << 3 | rpl).to_descriptor();
    }
    let busy_tss = Segment { base: TSS, limit: 0x1ff, selector: 0, access: access::PRESENT | 0x9 };
    gdt[usize::from(selector::TSS >> 3)] = busy_tss.to_descriptor();
    // Gates and system segments of any kind.
    for entry in &mut gdt[10..20] {
        *entry = gate(source, false);
    }
    for _ in 0..source.below(4) {
        let at = source.below(20);
        change(source, &mut gdt[at]);
    }
    pieces.push((GDT, bytes(&gdt)));

    let mut idt = vec![];
    for _ in 0..32 {
        idt.push(gate(source, true));
        if long {
            idt.push(0);
        }
    }
    // The rest is the same again: any vector has something.
    let whole: Vec<u64> = idt.iter().copied().cycle().take(512).collect();
    pieces.push((IDT, bytes(&whole)));

    // Stacks wherever the layout of the mode has one.
    let tss: Vec<u64> =
        (0..64).map(|at| if at % 2 == 0 { STACK_TOP - 8 * at } else { STACK_TOP << 16 }).collect();
    pieces.push((TSS, bytes(&tss)));
    let vectors: Vec<u8> =
        (0..256u32).flat_map(|n| ((0x1000 << 16) | ((n * 3) & 0x1ff)).to_le_bytes()).collect();
    pieces.push((0, vectors));
}

/// A gate that leads into the code, or nearly.
fn gate(source: &mut Source<'_>, interrupt: bool) -> u64 {
    let kinds: &[u64] = if interrupt { &[0xe, 0xf, 0x6, 0x7, 0x5] } else { &[0xc, 0x4, 0x2, 0x9, 0x1, 0x5] };
    let choice = source.byte();
    let kind = kinds[usize::from(choice & 7) % kinds.len()];
    let dpl = if choice & 8 != 0 { 3 } else { 0 };
    let target = [selector::CODE_64, selector::CODE_32, selector::CODE_16, selector::CODE_64];
    let target = u64::from(target[usize::from(choice >> 4 & 3)]);
    let offset = CODE + u64::from(source.byte());
    offset & 0xffff | target << 16 | (0x8000 | dpl << 13 | kind << 8) << 32 | (offset >> 16) << 48
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
