//! The shadow map of one context: guest-virtual page → what to add to an address to get the host's.
//!
//! A context is an address space (PCID) seen with the rights of one view. Its map is two flat tables, one for reads
//! and one for writes, with a *row* of eight words a page (and a third for accesses of 16 bytes, with rows of sixteen,
//! for pages that allow both):
//!
//! ```text
//!   host address = guest address + table[page][guest address % 8]
//! ```
//!
//! There is no comparison. Word 0 of a row leads to the page, if it may be accessed; the other seven, which belong to
//! misaligned addresses, and the rows of absent pages lead to the guard behind guest RAM, where nothing is
//! mapped, so that the access itself faults and the signal handler takes the slow way. (How accesses of less than
//! eight bytes, and misaligned ones, find their word is the business of [`operand`](crate::emit::operand).)
//! A table is 256 GiB of address space; the parts of it in use (*granules*, 4 KiB of table for 256 KiB of guest
//! addresses) are opened and filled with ways to the guard when first needed. A lookup in a closed granule
//! faults as well.
//!
//! The tables are indexed with bits 12–43 of the guest address while the whole address is added. So the low 44
//! bits of every sum lie in the page that the entry names, or in the guard, whatever the guest puts into the
//! upper bits; and what the upper bits then make of it is one of the places that guest memory keeps empty
//! ([`base::PERIOD`]), or no canonical address. That is why an absent entry is not some constant that makes the
//! sum non-canonical: an address made for it would cancel it. Two pages 16 TiB apart share a row; the one that
//! was filled last has it.

#![allow(unsafe_code)] // the table is raw memory shared with translated code

use std::io;

use base::PERIOD;
use rustc_hash::FxHashSet;

use crate::frame::{FRAME_BYTES, FramePage};
use crate::memory::Mapping;

/// An address that nothing is ever mapped at: for polls that shall fault.
pub(crate) const NOWHERE: u64 = 0x4000_0000_0000_0000;

/// Slots of each half of the jump cache.
const JUMP_SLOTS: usize = 1 << 16;
const JUMP_BYTES: usize = JUMP_SLOTS * size_of::<JumpSlot>();
/// The offset from GS of the first half of the jump cache, indexed by the low 16 bits of the target.
pub(crate) const JUMP_AT: i32 = -((JUMP_BYTES + FRAME_BYTES) as i32);
/// That of the second, indexed by the 16 bits from [`SECOND_BITS`] on: what was driven out of the first is there.
pub(crate) const SECOND_JUMP_AT: i32 = JUMP_AT - JUMP_BYTES as i32;
/// See [`SECOND_JUMP_AT`].
pub(crate) const SECOND_BITS: u8 = 7;

/// Bits of the guest address that the tables are indexed with: 12–43.
pub(crate) const PAGE_BITS: u32 = base::PERIOD_BITS - 12;
/// Words in a row.
const WORDS: usize = 8;
/// Bytes of a row.
const ROW: usize = 8 * WORDS;
const PAGES: usize = 1 << PAGE_BITS;
/// Bytes of the table for reads; it begins where GS leads.
const TABLE: usize = PAGES * ROW;
/// From GS to the table for writes. A few pages further than need be: AMD's first-level cache finds its ways by a
/// hash of the address's bits 12–27 ("Take A Way", 2020), and one page's rows, used in turn, must not look the same.
pub(crate) const WRITE_TABLE_AT: usize = TABLE + 0x3000;
/// From GS to the table for 16 bytes: for pages that may be read and written.
pub(crate) const WIDE_TABLE_AT: usize = 2 * TABLE + 0x6000;
const PAGES_IN_GRANULE: usize = 64;
const GRANULE: usize = PAGES_IN_GRANULE * ROW;
/// The tables: where they begin, from GS, and the words in a row.
const TABLES: [(usize, usize); 3] = [(0, WORDS), (WRITE_TABLE_AT, WORDS), (WIDE_TABLE_AT, 2 * WORDS)];
const HEAD: usize = 2 * JUMP_BYTES + FRAME_BYTES;

/// A cached branch target. `minus_target` is such that adding the target gives zero.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct JumpSlot {
    minus_target: u64,
    host: u64,
}

/// The shadow map of one context.
pub(crate) struct ShadowMap {
    mapping: Mapping,
    /// The host address that absent pages lead to.
    guard: u64,
    open: FxHashSet<usize>,
    /// See [`Self::stretches`].
    stretches: usize,
    /// Those of them whose part of the table for 16 bytes is open, too.
    wide: FxHashSet<usize>,
    /// Pages filled: those that are not global, and those that are.
    filled: [Vec<u32>; 2],
    /// Slots of the jump cache in use: those whose target is not global, and those whose target is.
    jumps: [Vec<u32>; 2],
    /// Pages that jumps lead to, or may run on into.
    jump_pages: FxHashSet<u64>,
}

impl ShadowMap {
    /// Bytes of address space that a map reserves.
    pub const RESERVED: usize = HEAD + WIDE_TABLE_AT + 2 * TABLE;

    /// An empty map, its frame aliased in front of it.
    pub fn new(frame: &FramePage, guard: u64) -> io::Result<Self> {
        let mapping = Mapping::reserve(Self::RESERVED)?;
        mapping.open(0, 2 * JUMP_BYTES)?;
        mapping.overlay(2 * JUMP_BYTES, frame.file(), FRAME_BYTES)?;
        let mut map = Self {
            mapping,
            guard,
            open: FxHashSet::default(),
            stretches: 0,
            wide: FxHashSet::default(),
            filled: Default::default(),
            jumps: Default::default(),
            jump_pages: FxHashSet::default(),
        };
        map.clear_jump(first_slot(0));
        map.clear_jump(second_slot(0));
        Ok(map)
    }

    /// What GS holds while the context is in use.
    pub fn gs(&self) -> u64 {
        self.mapping.start() as u64 + HEAD as u64
    }

    /// Granules open.
    pub fn granules(&self) -> usize {
        self.open.len()
    }

    /// Stretches of open granules: each is a mapping of the host's in each table, and what lies behind it another.
    pub fn stretches(&self) -> usize {
        self.stretches
    }

    /// Bytes of tables opened.
    pub fn resident(&self) -> usize {
        (self.open.len() * 2 + self.wide.len() * 2) * GRANULE
    }

    /// Enters a page: its addends for reads and writes; `None` stays or becomes poison.
    ///
    /// # Errors
    /// When the host does not give the memory.
    pub fn fill(
        &mut self,
        linear: u64,
        read: Option<u64>,
        write: Option<u64>,
        global: bool,
    ) -> io::Result<()> {
        self.open(linear)?;
        let page = page_of(linear);
        self.put(page, read, write);
        self.filled[usize::from(global)].push(page as u32);
        Ok(())
    }

    /// Opens the granule of a page, so that a lookup finds the way to the guard instead of a fault.
    ///
    /// # Errors
    /// When the host does not give the memory.
    pub fn open(&mut self, linear: u64) -> io::Result<()> {
        let granule = page_of(linear) as usize / PAGES_IN_GRANULE;
        if !self.open.contains(&granule) {
            self.open_granule(granule)?;
        }
        Ok(())
    }

    /// The entry of a page: its addends for reads and writes, where granted.
    pub fn entry(&self, linear: u64) -> (Option<u64>, Option<u64>) {
        let page = page_of(linear);
        if !self.open.contains(&(page as usize / PAGES_IN_GRANULE)) {
            return (None, None);
        }
        // SAFETY: the granule is open, so the rows are readable memory of ours.
        let (read, write) = unsafe { (self.row(page, TABLES[0]).read(), self.row(page, TABLES[1]).read()) };
        let absent = self.absent(page);
        (Some(read).filter(|&e| e != absent), Some(write).filter(|&e| e != absent))
    }

    /// What an absent entry of a page holds: the way from the page to the guard.
    fn absent(&self, page: u64) -> u64 {
        self.guard.wrapping_sub(page << 12)
    }

    /// Poisons the entry for writes of the page at `linear` if it leads to the host page that `addend` gives.
    pub fn forbid_write(&mut self, linear: u64, host_page: u64) {
        let page = page_of(linear);
        let (read, write) = self.entry(linear);
        // Which of the addresses that share the row is meant does not matter: RAM has no copies.
        if write.is_some_and(|write| (page << 12).wrapping_add(write) % PERIOD == host_page % PERIOD) {
            self.put(page, read, None);
        }
    }

    /// Forgets one page.
    pub fn poison_page(&mut self, linear: u64) {
        let page = page_of(linear);
        if self.open.contains(&(page as usize / PAGES_IN_GRANULE)) {
            self.put(page, None, None);
        }
        // A target may be an instruction that runs on into the page.
        if !self.jump_pages.contains(&page) {
            return;
        }
        for list in 0..2 {
            let mut jumps = std::mem::take(&mut self.jumps[list]);
            jumps.retain(|&slot| {
                let target = self.jump_target(slot);
                let hit = page_of(target) == page || page_of(target.wrapping_add(14)) == page;
                if hit {
                    self.clear_jump(slot);
                }
                !hit
            });
            self.jumps[list] = jumps;
        }
        self.jump_pages.remove(&page);
    }

    /// Forgets all pages and jumps, or all that are not global.
    pub fn poison(&mut self, global_too: bool) {
        for list in 0..=usize::from(global_too) {
            let mut filled = std::mem::take(&mut self.filled[list]);
            for page in filled.drain(..) {
                self.put(page.into(), None, None);
            }
            self.filled[list] = filled;
        }
        self.clear_jumps(global_too);
    }

    /// Forgets all and gives the memory of the tables and of the jump cache back.
    pub fn empty(&mut self) {
        for granule in std::mem::take(&mut self.open) {
            self.close_granule(granule);
        }
        self.stretches = 0;
        (self.filled, self.jumps, self.jump_pages) = Default::default();
        self.mapping.zero(0, 2 * JUMP_BYTES);
        self.clear_jump(first_slot(0));
        self.clear_jump(second_slot(0));
    }

    /// Gives the memory of those parts back in which no page is entered any more.
    pub fn shrink(&mut self) {
        let open = std::mem::take(&mut self.open);
        let (vacant, open): (FxHashSet<_>, _) =
            open.into_iter().partition(|&granule| self.is_vacant(granule));
        self.open = open;
        if vacant.is_empty() {
            return;
        }
        for granule in vacant {
            self.close_granule(granule);
        }
        let beside: usize = self.open.iter().map(|&granule| self.open_beside(granule)).sum();
        self.stretches = self.open.len() - beside / 2;
        // Pages that were forgotten one by one are in the lists still.
        for filled in &mut self.filled {
            filled.retain(|&page| self.open.contains(&(page as usize / PAGES_IN_GRANULE)));
        }
    }

    /// How many of the granules before and behind are open?
    fn open_beside(&self, granule: usize) -> usize {
        let beside = [granule.wrapping_sub(1), granule + 1];
        beside.iter().filter(|granule| self.open.contains(granule)).count()
    }

    /// Is no page of this open granule entered?
    fn is_vacant(&self, granule: usize) -> bool {
        let first = (granule * PAGES_IN_GRANULE) as u64;
        (first..first + PAGES_IN_GRANULE as u64).all(|page| {
            let absent = self.absent(page);
            // SAFETY: the granule is open, so the rows are readable memory of ours.
            unsafe {
                self.row(page, TABLES[0]).read() == absent && self.row(page, TABLES[1]).read() == absent
            }
        })
    }

    /// Gives the memory of a granule back. It is none of those open any more.
    fn close_granule(&mut self, granule: usize) {
        let tables = if self.wide.remove(&granule) { 3 } else { 2 };
        for (table, words) in TABLES.into_iter().take(tables) {
            let bytes = PAGES_IN_GRANULE * words * 8;
            self.mapping.close(HEAD + table + granule * bytes, bytes);
        }
    }

    /// How long is the list of filled pages?
    pub fn filled(&self) -> usize {
        self.filled.iter().map(Vec::len).sum()
    }

    /// Caches where a guest address is translated. `global` says whether its page is. True if no jump to the page was known.
    pub fn set_jump(&mut self, target: u64, host: u64, global: bool) -> bool {
        let slot = first_slot(target);
        let old = self.jump_in(slot);
        let old_target = old.minus_target.wrapping_neg();
        if old.host != 0 && old_target != target {
            self.put_jump(second_slot(old_target), old, false);
        }
        self.put_jump(slot, JumpSlot { minus_target: target.wrapping_neg(), host }, global);
        let is_news = self.jump_pages.insert(page_of(target));
        self.jump_pages.insert(page_of(target.wrapping_add(14)));
        if self.jumps.iter().any(|jumps| jumps.len() > 2 * JUMP_SLOTS) {
            self.clear_jumps(true);
        }
        is_news
    }

    /// Is a jump into the page at `linear` known?
    pub fn has_jumps_to(&self, linear: u64) -> bool {
        self.jump_pages.contains(&page_of(linear))
    }

    /// Forgets all jumps, or all whose target is not global.
    pub fn clear_jumps(&mut self, global_too: bool) {
        for list in 0..=usize::from(global_too) {
            let mut jumps = std::mem::take(&mut self.jumps[list]);
            for slot in jumps.drain(..) {
                self.clear_jump(slot);
            }
            self.jumps[list] = jumps;
        }
        // While some jumps are left the pages stay noted, which costs a look at most.
        if self.jumps.iter().all(Vec::is_empty) {
            self.jump_pages.clear();
        }
    }

    fn jump(&self, slot: u32) -> *mut JumpSlot {
        assert!((slot as usize) < 2 * JUMP_SLOTS);
        // SAFETY: within the mapping.
        unsafe { self.mapping.start().cast::<JumpSlot>().add(slot as usize) }
    }

    fn jump_in(&self, slot: u32) -> JumpSlot {
        // SAFETY: the jump cache is open from the start.
        unsafe { self.jump(slot).read() }
    }

    fn put_jump(&mut self, slot: u32, jump: JumpSlot, global: bool) {
        // SAFETY: the jump cache is open from the start.
        unsafe { self.jump(slot).write(jump) };
        self.jumps[usize::from(global)].push(slot);
    }

    fn jump_target(&self, slot: u32) -> u64 {
        self.jump_in(slot).minus_target.wrapping_neg()
    }

    fn clear_jump(&mut self, slot: u32) {
        // A target that never comes: zero, except in the slots where zero would.
        let minus_target = u64::from(slot == first_slot(0) || slot == second_slot(0));
        // SAFETY: the jump cache is open from the start.
        unsafe { self.jump(slot).write(JumpSlot { minus_target, host: 0 }) };
    }

    /// Opens a granule of the tables for reads and writes.
    fn open_granule(&mut self, granule: usize) -> io::Result<()> {
        self.open_part(granule, TABLES[0])?;
        self.open_part(granule, TABLES[1])?;
        self.open.insert(granule);
        self.stretches = (self.stretches + 1).saturating_sub(self.open_beside(granule));
        Ok(())
    }

    /// Opens the part of the table for 16 bytes that belongs to a filled page, and enters what is known of the pages
    /// there. False if it was open: then the page is not for that table.
    pub fn widen(&mut self, linear: u64) -> io::Result<bool> {
        let granule = page_of(linear) as usize / PAGES_IN_GRANULE;
        if !self.open.contains(&granule) || !self.wide.insert(granule) {
            return Ok(false);
        }
        self.open_part(granule, TABLES[2])?;
        let first = (granule * PAGES_IN_GRANULE) as u64;
        for page in first..first + PAGES_IN_GRANULE as u64 {
            let (read, write) = self.entry(page << 12);
            self.put(page, read, write);
        }
        Ok(true)
    }

    /// Opens a granule of one table and fills it with ways to the guard.
    fn open_part(&mut self, granule: usize, (table, words): (usize, usize)) -> io::Result<()> {
        let bytes = PAGES_IN_GRANULE * words * 8;
        self.mapping.open(HEAD + table + granule * bytes, bytes)?;
        let first = (granule * PAGES_IN_GRANULE) as u64;
        for page in first..first + PAGES_IN_GRANULE as u64 {
            let absent = self.absent(page);
            // SAFETY: just opened; a row has so many words.
            unsafe { std::slice::from_raw_parts_mut(self.row(page, (table, words)), words) }.fill(absent);
        }
        Ok(())
    }

    /// A page's row in a table.
    fn row(&self, page: u64, (table, words): (usize, usize)) -> *mut u64 {
        assert!((page as usize) < PAGES);
        // SAFETY: within the mapping.
        unsafe { self.mapping.start().add(HEAD + table + page as usize * words * 8).cast() }
    }

    /// The granule of `page` must be open.
    fn put(&mut self, page: u64, read: Option<u64>, write: Option<u64>) {
        let absent = self.absent(page);
        // SAFETY: the granule is open (every caller made sure), so the rows are writable memory of ours.
        unsafe {
            self.row(page, TABLES[0]).write(read.unwrap_or(absent));
            self.row(page, TABLES[1]).write(write.unwrap_or(absent));
            if self.wide.contains(&(page as usize / PAGES_IN_GRANULE)) {
                self.row(page, TABLES[2]).write(read.and(write).unwrap_or(absent));
            }
        }
    }
}

/// A target's slot in the first half of the jump cache.
fn first_slot(target: u64) -> u32 {
    (JUMP_SLOTS + target as usize % JUMP_SLOTS) as u32
}

/// A target's slot in the second half.
fn second_slot(target: u64) -> u32 {
    ((target >> SECOND_BITS) as usize % JUMP_SLOTS) as u32
}

/// The page number of a guest address, as the tables are indexed.
fn page_of(address: u64) -> u64 {
    address >> 12 & (PAGES as u64 - 1)
}
