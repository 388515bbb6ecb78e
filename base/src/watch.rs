//! The watch over guest RAM: which pages hold code that an engine has cached, and which pages were
//! written since dirty logging began. One mechanism serves self-modifying code, live migration and
//! device writes.
//!
//! A writer stores first and then asks [`Watch::wrote`]; nearly always one byte load says that nobody is
//! interested. An engine that caches code calls [`Watch::cache_code`] *before* it reads the bytes, keeps
//! the generation it got, and drops what it cached when [`Watch::generation`] has moved on. Between the
//! two lies a store-load race with writers on other CPUs: the writer's store may still be in its
//! store buffer while it reads “nobody is interested”. Fencing every store would cost more than the rest
//! of it, so the rare side pays: `cache_code` runs `membarrier(2)` when it adds a line and other threads
//! may write. Devices, whose stores are few and large, fence themselves ([`Watch::wrote_apart`]).
//!
//! Code is watched by lines of 64 bytes, so that data beside code in one page does not throw the code
//! away on every store.

#![allow(unsafe_code)] // the membarrier system call

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};

use vm_memory::bitmap::{Bitmap, WithBitmapSlice};

use crate::address::{PAGE_SIZE, RamOffset};

/// Some line of the page holds cached code.
const CODE: u8 = 1;
/// Dirty logging is on and the page is still clean.
const CLEAN: u8 = 2;

const LINE: u64 = 64;

/// The watch over all pages of one VM's RAM.
#[derive(Debug)]
pub struct Watch {
    state: Box<[AtomicU8]>,
    lines: Box<[AtomicU64]>,
    generation: Box<[AtomicU64]>,
    shared: AtomicBool,
    /// Counts writes that hit cached code.
    hits: AtomicU64,
}

impl Watch {
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            state: (0..pages).map(|_| AtomicU8::new(0)).collect(),
            lines: (0..pages).map(|_| AtomicU64::new(0)).collect(),
            generation: (0..pages).map(|_| AtomicU64::new(0)).collect(),
            shared: AtomicBool::new(false),
            hits: AtomicU64::new(0),
        }
    }

    /// From now on several threads execute and write guest memory. Costs a system call whenever code is
    /// cached in a line that held none. Without `membarrier(2)` in the host kernel (before 4.14) a stale
    /// block is possible in guests with several vCPUs.
    pub fn share(&self) {
        // SAFETY: membarrier takes no pointers.
        unsafe {
            libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
        }
        self.shared.store(true, Ordering::SeqCst);
    }

    /// Says that `[at, at + len)` was just written. Call it after the store. True if cached code was hit:
    /// the engine that asks must leave its present block.
    #[inline(always)]
    pub fn wrote(&self, at: RamOffset, len: u64) -> bool {
        let page = at.page();
        let end = RamOffset(at.0 + len.max(1) - 1).page();
        if page == end && self.state[page].load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.wrote_watched(at, len)
    }

    /// As [`Watch::wrote`], for writers that are no vCPU, whether or not memory is [shared](Watch::share):
    /// these pay for the fence themselves, so that a lone vCPU need not.
    #[inline]
    pub fn wrote_apart(&self, at: RamOffset, len: u64) {
        fence(Ordering::SeqCst);
        self.wrote(at, len);
    }

    #[cold]
    fn wrote_watched(&self, at: RamOffset, len: u64) -> bool {
        let mut hit = false;
        let end = at.0 + len.max(1);
        let mut from = at.0;
        while from < end {
            let to = end.min((from / PAGE_SIZE + 1) * PAGE_SIZE);
            let page = RamOffset(from).page();
            let state = self.state[page].load(Ordering::SeqCst);
            if state & CLEAN != 0 {
                self.state[page].fetch_and(!CLEAN, Ordering::SeqCst);
            }
            if state & CODE != 0 && self.lines[page].load(Ordering::SeqCst) & mask(from, to) != 0 {
                hit = true;
                // Whoever still runs the old code finds a new generation; the page starts afresh.
                self.generation[page].fetch_add(1, Ordering::SeqCst);
                self.lines[page].store(0, Ordering::SeqCst);
                self.state[page].fetch_and(!CODE, Ordering::SeqCst);
                self.hits.fetch_add(1, Ordering::SeqCst);
            }
            from = to;
        }
        hit
    }

    /// Announces that code in `[at, at + len)`, which must lie in one page, is about to be read and
    /// cached. Gives the generation to keep with what is cached.
    pub fn cache_code(&self, at: RamOffset, len: u64) -> u64 {
        let page = at.page();
        let generation = self.generation[page].load(Ordering::SeqCst);
        let wanted = mask(at.0, at.0 + len.max(1));
        let before = self.lines[page].fetch_or(wanted, Ordering::SeqCst);
        let state = self.state[page].fetch_or(CODE, Ordering::SeqCst);
        if (before & wanted != wanted || state & CODE == 0) && self.shared.load(Ordering::Relaxed) {
            // SAFETY: membarrier takes no pointers.
            unsafe {
                libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
            }
        }
        generation
    }

    /// The generation of a page's code; it moves on when cached code in the page is written.
    #[inline(always)]
    pub fn generation(&self, page: usize) -> u64 {
        self.generation[page].load(Ordering::Acquire)
    }

    /// How many writes have hit cached code: while it stands still, no generation has moved.
    #[inline(always)]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Acquire)
    }

    /// Does anybody want to hear of writes to this page? For engines that keep a map of pages that may be
    /// written without asking.
    #[inline]
    pub fn watched(&self, page: usize) -> bool {
        self.state[page].load(Ordering::SeqCst) != 0
    }

    /// Pages under watch.
    pub fn pages(&self) -> usize {
        self.state.len()
    }

    /// Starts (or restarts) dirty logging: every page counts as clean from here.
    pub fn start_dirty_log(&self) {
        for state in &self.state {
            state.fetch_or(CLEAN, Ordering::SeqCst);
        }
    }

    /// Ends dirty logging.
    pub fn stop_dirty_log(&self) {
        for state in &self.state {
            state.fetch_and(!CLEAN, Ordering::SeqCst);
        }
    }

    /// Takes the pages written since the log was started or last taken, and counts them as clean again.
    pub fn take_dirty(&self) -> Vec<usize> {
        let dirty = |(page, state): (usize, &AtomicU8)| {
            (state.fetch_or(CLEAN, Ordering::SeqCst) & CLEAN == 0).then_some(page)
        };
        self.state.iter().enumerate().filter_map(dirty).collect()
    }
}

/// The lines that `[from, to)` touches; both lie in one page.
fn mask(from: u64, to: u64) -> u64 {
    let first = from % PAGE_SIZE / LINE;
    let last = (to - 1) % PAGE_SIZE / LINE;
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// The watch as seen by `vm-memory`: what a device writes through it is reported like a vCPU's stores.
#[derive(Clone, Debug)]
pub struct RegionWatch {
    watch: Arc<Watch>,
    start: u64,
}

impl RegionWatch {
    pub(crate) fn new(watch: Arc<Watch>, start: u64) -> Self {
        Self { watch, start }
    }
}

impl<'a> WithBitmapSlice<'a> for RegionWatch {
    type S = Self;
}

impl vm_memory::bitmap::BitmapSlice for RegionWatch {}

impl Bitmap for RegionWatch {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.watch.wrote_apart(RamOffset(self.start + offset as u64), len as u64);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        !self.watch.watched(RamOffset(self.start + offset as u64).page())
    }

    fn slice_at(&self, offset: usize) -> Self {
        Self { watch: Arc::clone(&self.watch), start: self.start + offset as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_to_a_cached_line_moves_the_generation() {
        let watch = Watch::new(4);
        let generation = watch.cache_code(RamOffset(0x1100), 0x20);
        assert!(!watch.wrote(RamOffset(0x1140), 8), "the next line is data");
        assert!(!watch.wrote(RamOffset(0x10fc), 4), "the line before is data");
        assert_eq!(watch.generation(1), generation);
        assert!(watch.wrote(RamOffset(0x10fc), 5), "the fifth byte is code");
        assert_ne!(watch.generation(1), generation);
        assert!(!watch.wrote(RamOffset(0x1100), 1), "what was thrown away is data again");
    }

    #[test]
    fn a_write_that_spans_pages_hits_code_in_the_later_one() {
        let watch = Watch::new(4);
        watch.cache_code(RamOffset(0x2000), 1);
        assert!(watch.wrote(RamOffset(0xff0), 0x2000));
    }

    #[test]
    fn the_dirty_log_names_each_written_page_once() {
        let watch = Watch::new(8);
        watch.start_dirty_log();
        watch.wrote(RamOffset(0x3ffe), 4);
        watch.wrote(RamOffset(0x3000), 1);
        assert_eq!(watch.take_dirty(), [3, 4]);
        assert_eq!(watch.take_dirty(), [] as [usize; 0]);
        watch.stop_dirty_log();
        assert!(!watch.watched(3));
    }
}
