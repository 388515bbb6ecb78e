//! The shadow map of one context: guest-virtual page → what to add to an address to get the host's.
//!
//! A context is an address space (PCID) seen with the rights of one view. Its map is a flat table with
//! two words a page, one for reads and one for writes:
//!
//! ```text
//!   host address = guest address + map[page].{read, write}
//! ```
//!
//! There is no comparison. An absent entry leads to the guard behind guest RAM, where nothing is mapped, so that
//! the access itself faults and the signal handler takes the slow way. The table is 1 TiB of address
//! space; the parts of it in use (*granules*, 64 KiB of table for 16 MiB of guest addresses) are opened and
//! poisoned when first needed. A lookup in a closed granule faults as well.
//!
//! The table is indexed with bits 12–47 of the guest address while the whole address is added. So the low 48
//! bits of every sum lie in the page that the entry names, or in the guard, whatever the guest puts into the
//! upper bits; and if it puts anything there, the sum is not canonical. That is why an absent entry is not
//! some constant that makes the sum non-canonical: an address made for it would cancel it.

#![allow(unsafe_code)] // the table is raw memory shared with translated code

use std::io;
use std::ptr::NonNull;

use rustc_hash::FxHashSet;

use crate::frame::{FRAME_BYTES, FramePage};
use crate::memory::Mapping;

/// An address that nothing is ever mapped at: for polls that shall fault.
pub(crate) const NOWHERE: u64 = 0x4000_0000_0000_0000;

/// Slots of the jump cache; indexed by the low 16 bits of the target.
pub(crate) const JUMP_SLOTS: usize = 1 << 16;
/// Bytes of the jump cache.
pub(crate) const JUMP_BYTES: usize = JUMP_SLOTS * size_of::<JumpSlot>();
/// The jump cache's offset from GS.
pub(crate) const JUMP_AT: i32 = -((JUMP_BYTES + FRAME_BYTES) as i32);

const ENTRY: usize = 16;
const PAGES: usize = 1 << 36;
const GRANULE: usize = 64 * 1024;
const PAGES_IN_GRANULE: usize = GRANULE / ENTRY;
const HEAD: usize = JUMP_BYTES + FRAME_BYTES;

/// The most granules a context keeps open; beyond that it is emptied. 64 MiB of table, 16 GiB of guest.
const MOST_GRANULES: usize = 1024;

/// A cached branch target. `minus_target` is such that adding the target gives zero.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct JumpSlot {
    minus_target: u64,
    host: u64,
}

/// One entry filled: the page, and whether it is global.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Filled {
    page: u64,
    global: bool,
}

/// One slot of the jump cache in use.
#[derive(Clone, Copy)]
struct Jump {
    slot: u16,
    /// The target's page is global.
    global: bool,
}

/// The shadow map of one context.
pub(crate) struct ShadowMap {
    mapping: Mapping,
    /// The host address that absent pages lead to.
    guard: u64,
    open: FxHashSet<usize>,
    filled: Vec<Filled>,
    jumps: Vec<Jump>,
    /// Pages that jumps lead to, or may run on into.
    jump_pages: FxHashSet<u64>,
}

impl ShadowMap {
    /// Bytes of address space that a map reserves.
    pub const RESERVED: usize = HEAD + PAGES * ENTRY;

    /// An empty map, its frame aliased in front of it.
    pub fn new(frame: &FramePage, guard: u64) -> io::Result<Self> {
        let mapping = Mapping::reserve(Self::RESERVED)?;
        mapping.open(0, JUMP_BYTES)?;
        mapping.overlay(JUMP_BYTES, frame.file(), FRAME_BYTES)?;
        let mut map = Self {
            mapping,
            guard,
            open: FxHashSet::default(),
            filled: Vec::new(),
            jumps: Vec::new(),
            jump_pages: FxHashSet::default(),
        };
        map.clear_jump(0);
        Ok(map)
    }

    /// What GS holds while the context is in use.
    pub fn gs(&self) -> u64 {
        self.mapping.start() as u64 + HEAD as u64
    }

    /// Bytes of table opened.
    pub fn resident(&self) -> usize {
        self.open.len() * GRANULE
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
        let page = linear >> 12 & (PAGES as u64 - 1);
        let granule = page as usize / PAGES_IN_GRANULE;
        if !self.open.contains(&granule) {
            if self.open.len() >= MOST_GRANULES {
                self.empty();
            }
            self.mapping.open(HEAD + granule * GRANULE, GRANULE)?;
            let first = granule * PAGES_IN_GRANULE;
            for page in first..first + PAGES_IN_GRANULE {
                self.put(page as u64, None, None);
            }
            self.open.insert(granule);
        }
        self.put(page, read, write);
        self.filled.push(Filled { page, global });
        Ok(())
    }

    /// The entry of a page: its addends for reads and writes, where granted.
    pub fn entry(&self, linear: u64) -> (Option<u64>, Option<u64>) {
        let page = page_of(linear);
        if !self.open.contains(&(page as usize / PAGES_IN_GRANULE)) {
            return (None, None);
        }
        let at = self.at(page).as_ptr();
        // SAFETY: the granule is open, so the entry is readable memory of ours.
        let (read, write) = unsafe { (at.read(), at.add(1).read()) };
        let absent = self.absent(page);
        (Some(read).filter(|&e| e != absent), Some(write).filter(|&e| e != absent))
    }

    /// What an absent entry of a page holds: the way from the page to the guard.
    fn absent(&self, page: u64) -> u64 {
        self.guard.wrapping_sub(address_of(page))
    }

    /// Poisons a page's entry for writes if it leads to the host page that `addend` gives.
    pub fn forbid_write(&mut self, page: u64, host_page: u64) {
        let (read, write) = self.entry(page << 12);
        if write.is_some_and(|write| address_of(page).wrapping_add(write) == host_page) {
            self.put(page, read, None);
        }
    }

    /// Forgets one page.
    pub fn poison_page(&mut self, linear: u64) {
        let page = linear >> 12 & (PAGES as u64 - 1);
        if self.open.contains(&(page as usize / PAGES_IN_GRANULE)) {
            self.put(page, None, None);
        }
        // A target may be an instruction that runs on into the page.
        if !self.jump_pages.contains(&page) {
            return;
        }
        for jump in std::mem::take(&mut self.jumps) {
            let target = self.jump_target(jump.slot);
            if page_of(target) == page || page_of(target.wrapping_add(14)) == page {
                self.clear_jump(usize::from(jump.slot));
            } else {
                self.jumps.push(jump);
            }
        }
        self.jump_pages.remove(&page);
    }

    /// Forgets all pages and jumps, or all that are not global.
    pub fn poison(&mut self, global_too: bool) {
        let filled = std::mem::take(&mut self.filled);
        let (gone, kept): (Vec<_>, Vec<_>) = filled.into_iter().partition(|f| global_too || !f.global);
        for entry in &gone {
            self.put(entry.page, None, None);
        }
        self.filled = kept;
        self.clear_jumps(global_too);
    }

    /// Forgets all and gives the memory of the table back.
    pub fn empty(&mut self) {
        for granule in std::mem::take(&mut self.open) {
            self.mapping.close(HEAD + granule * GRANULE, GRANULE);
        }
        self.filled.clear();
        self.clear_jumps(true);
    }

    /// Is the list of filled pages so long that forgetting would cost more than refilling?
    pub fn is_crowded(&self) -> bool {
        self.filled.len() > 1 << 20
    }

    /// Caches where a guest address is translated. `global` says whether its page is.
    pub fn set_jump(&mut self, target: u64, host: u64, global: bool) {
        let slot = target as usize % JUMP_SLOTS;
        // SAFETY: the jump cache is open from the start and has JUMP_SLOTS slots.
        unsafe { self.jump(slot).write(JumpSlot { minus_target: target.wrapping_neg(), host }) };
        self.jumps.push(Jump { slot: slot as u16, global });
        self.jump_pages.insert(page_of(target));
        self.jump_pages.insert(page_of(target.wrapping_add(14)));
        if self.jumps.len() > 2 * JUMP_SLOTS {
            self.clear_jumps(true);
        }
    }

    /// Forgets all jumps, or all whose target is not global.
    pub fn clear_jumps(&mut self, global_too: bool) {
        let mut kept = Vec::new();
        for jump in std::mem::take(&mut self.jumps) {
            if jump.global && !global_too {
                kept.push(jump);
            } else {
                self.clear_jump(usize::from(jump.slot));
            }
        }
        // Two jumps may have used one slot: the pages stay noted, which costs a look at most.
        if kept.is_empty() {
            self.jump_pages.clear();
        }
        self.jumps = kept;
    }

    fn jump(&self, slot: usize) -> *mut JumpSlot {
        assert!(slot < JUMP_SLOTS);
        // SAFETY: within the mapping.
        unsafe { self.mapping.start().cast::<JumpSlot>().add(slot) }
    }

    fn jump_target(&self, slot: u16) -> u64 {
        // SAFETY: the jump cache is open from the start.
        unsafe { self.jump(usize::from(slot)).read() }.minus_target.wrapping_neg()
    }

    fn clear_jump(&mut self, slot: usize) {
        // A target that never comes: zero, except in the slot where zero would.
        let minus_target = u64::from(slot == 0);
        // SAFETY: the jump cache is open from the start.
        unsafe { self.jump(slot).write(JumpSlot { minus_target, host: 0 }) };
    }

    fn at(&self, page: u64) -> NonNull<u64> {
        assert!((page as usize) < PAGES);
        // SAFETY: within the mapping, which is not at zero.
        unsafe { NonNull::new_unchecked(self.mapping.start().add(HEAD + page as usize * ENTRY).cast()) }
    }

    /// The granule of `page` must be open.
    fn put(&mut self, page: u64, read: Option<u64>, write: Option<u64>) {
        let absent = self.absent(page);
        let at = self.at(page).as_ptr();
        // SAFETY: the granule is open (every caller made sure), so the entry is writable memory of ours.
        unsafe {
            at.write(read.unwrap_or(absent));
            at.add(1).write(write.unwrap_or(absent));
        }
    }
}

/// The page number of a guest address, as the map is indexed.
fn page_of(address: u64) -> u64 {
    address >> 12 & (PAGES as u64 - 1)
}

/// The canonical address of a page number.
fn address_of(page: u64) -> u64 {
    ((page << 28) as i64 >> 16) as u64
}
