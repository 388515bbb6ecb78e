//! The watch over guest RAM: which pages hold code that an engine has cached, and which pages were
//! written since dirty logging began. One mechanism serves self-modifying code, live migration and
//! device writes.
//!
//! A writer stores first and then asks [`Watch::wrote`]; nearly always one byte load says that nobody is
//! interested. An engine that caches code calls [`Watch::cache_code`] *before* it reads the bytes for good, keeps
//! the generation it got, and drops what it cached when [`Watch::generation`] has moved on. Between the
//! two lies a store-load race with writers on other CPUs: the writer's store may still be in its
//! store buffer while it reads “nobody is interested”. Fencing every store would cost more than the rest
//! of it, so the rare side pays: `cache_code` runs `membarrier(2)` when the page comes under watch and other threads
//! may write. Devices, whose stores are few and large, fence themselves ([`Watch::wrote_apart`]).
//!
//! Engines that write memory or run cached code without asking at each step are told: see [`Runner`].
//!
//! Code is watched by lines of 64 bytes, so that data beside code in one page does not throw the code
//! away on every store. What changes the record of a page's code does so under one lock; a page that is written goes through
//!
//! ```text
//!   store ── state says CODE? ── its line holds code? ── lock ── generation moves, runners told ── page afresh
//! ```
//!
//! and says that nobody is interested only at the end: a second writer either finds the page still under watch, and
//! waits for the lock, or comes when all have been told.

#![allow(unsafe_code)] // the membarrier system call; zeroed memory

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_memory::bitmap::{Bitmap, WithBitmapSlice};

use crate::address::{PAGE_SIZE, RamOffset};
use crate::runner::{Enlisted, Runner, Runners};

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
    /// Runners that may write the page without asking.
    writers: Box<[AtomicU8]>,
    /// Runners that have cached code of it.
    readers: Box<[AtomicU8]>,
    shared: AtomicBool,
    /// Also the lock on `lines`, `generation`, `readers` and the CODE bits.
    runners: Mutex<Runners>,
}

impl Watch {
    pub(crate) fn new(pages: usize) -> Self {
        let bytes = || zeroed_bytes(pages);
        let (state, writers, readers) = (bytes(), bytes(), bytes());
        let (lines, generation) = (zeroed_words(pages), zeroed_words(pages));
        Self {
            state,
            lines,
            generation,
            writers,
            readers,
            shared: AtomicBool::new(false),
            runners: Mutex::default(),
        }
    }

    fn runners(&self) -> MutexGuard<'_, Runners> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a runner in: from now on it is told what happens to pages that it named.
    pub fn enlist(&self, runner: Arc<dyn Runner>) -> Enlisted {
        self.runners().enlist(runner)
    }

    /// Lets a runner go; its maps and its code are gone.
    pub fn dismiss(&self, who: &Enlisted) {
        self.runners().dismiss(who);
    }

    /// From now on several threads execute and write guest memory. Costs a system call whenever code is
    /// cached in a page that held none. Without `membarrier(2)` in the host kernel (before 4.14) a stale
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
        // Lines come under watch without a membarrier: the store must be out before they are looked at.
        fence(Ordering::SeqCst);
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
            let lines = mask(from, to);
            if state & CODE != 0 && self.lines[page].load(Ordering::SeqCst) & lines != 0 {
                hit = true;
                self.hit(page, lines);
            }
            from = to;
        }
        hit
    }

    /// Code in these lines was written: whoever cached it finds a new generation, or is told; the page starts afresh.
    fn hit(&self, page: usize, lines: u64) {
        let runners = self.runners();
        if self.lines[page].load(Ordering::SeqCst) & lines == 0 {
            return; // another writer has told all meanwhile; nobody caches the page anew before it lets the lock go
        }
        self.generation[page].fetch_add(1, Ordering::SeqCst);
        for runner in runners.of(self.readers[page].swap(0, Ordering::SeqCst)) {
            runner.stale(page);
        }
        self.lines[page].store(0, Ordering::SeqCst);
        self.state[page].fetch_and(!CODE, Ordering::SeqCst);
    }

    /// Announces that code in `[at, at + len)`, which must lie in one page, is about to be read and
    /// cached. Gives the generation to keep with what is cached, and to compare before each use.
    ///
    /// Waits for runners that write the page at the moment, so the caller must not be in translated code itself.
    pub fn cache_code(&self, at: RamOffset, len: u64) -> u64 {
        self.cache(at, len, 0)
    }

    /// [`Watch::cache_code`] for a runner, which does not compare at each use but is told by [`Runner::stale`].
    pub fn cache_code_of(&self, who: &Enlisted, at: RamOffset, len: u64) -> u64 {
        self.cache(at, len, who.bit())
    }

    fn cache(&self, at: RamOffset, len: u64, reader: u8) -> u64 {
        let page = at.page();
        let runners = self.runners();
        self.readers[page].fetch_or(reader, Ordering::SeqCst);
        self.lines[page].fetch_or(mask(at.0, at.0 + len.max(1)), Ordering::SeqCst);
        if self.state[page].fetch_or(CODE, Ordering::SeqCst) & CODE == 0 {
            if self.shared.load(Ordering::Relaxed) {
                // SAFETY: membarrier takes no pointers.
                unsafe {
                    libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
                }
            }
            let writers = self.writers[page].swap(0, Ordering::SeqCst);
            runners.of(writers).for_each(|runner| runner.forbid(page));
            runners.of(writers).for_each(|runner| runner.settle());
        }
        self.generation[page].load(Ordering::SeqCst)
    }

    /// May a runner enter this page into its maps as one that is written without asking? If not, its writes go by
    /// [`Watch::wrote`]. `now` says that it is about to write, and not only provides for it: then the page
    /// counts as written.
    pub fn grant(&self, who: &Enlisted, page: usize, now: bool) -> bool {
        let writers = &self.writers[page];
        if writers.load(Ordering::SeqCst) & who.bit() == 0 {
            writers.fetch_or(who.bit(), Ordering::SeqCst);
        }
        let state = self.state[page].load(Ordering::SeqCst);
        if now && state == CLEAN {
            self.state[page].fetch_and(!CLEAN, Ordering::SeqCst);
        }
        state == 0 || now && state == CLEAN
    }

    /// The generation of a page's code; it moves on when cached code in the page is written.
    #[inline(always)]
    pub fn generation(&self, page: usize) -> u64 {
        self.generation[page].load(Ordering::Acquire)
    }

    /// Does anybody want to hear of writes to this page?
    #[inline]
    pub fn watched(&self, page: usize) -> bool {
        self.state[page].load(Ordering::SeqCst) != 0
    }

    /// Pages under watch.
    pub fn pages(&self) -> usize {
        self.state.len()
    }

    /// Starts (or restarts) dirty logging: every page counts as clean from here. Waits for runners.
    pub fn start_dirty_log(&self) {
        let runners = self.runners();
        for (state, writers) in self.state.iter().zip(&self.writers) {
            state.fetch_or(CLEAN, Ordering::SeqCst);
            writers.store(0, Ordering::SeqCst);
        }
        runners.of(u8::MAX).for_each(|runner| runner.forbid_all());
        runners.of(u8::MAX).for_each(|runner| runner.settle());
    }

    /// Ends dirty logging.
    pub fn stop_dirty_log(&self) {
        for state in &self.state {
            state.fetch_and(!CLEAN, Ordering::SeqCst);
        }
    }

    /// Takes the pages written since the log was started or last taken, and counts them as clean again. What was
    /// stored to them until now can be read afterwards. Waits for runners.
    pub fn take_dirty(&self) -> Vec<usize> {
        let runners = self.runners();
        let dirty = |(page, state): (usize, &AtomicU8)| {
            (state.fetch_or(CLEAN, Ordering::SeqCst) & CLEAN == 0).then_some(page)
        };
        let pages: Vec<usize> = self.state.iter().enumerate().filter_map(dirty).collect();
        for &page in &pages {
            let writers = self.writers[page].swap(0, Ordering::SeqCst);
            runners.of(writers).for_each(|runner| runner.forbid(page));
        }
        runners.of(u8::MAX).for_each(|runner| runner.settle());
        pages
    }
}

/// Zeros straight from the host: they take no memory before they are written, and most pages never hold code.
fn zeroed_bytes(count: usize) -> Box<[AtomicU8]> {
    let zeros = Box::into_raw(vec![0u8; count].into_boxed_slice());
    // SAFETY: an `AtomicU8` has the layout of a `u8`.
    unsafe { Box::from_raw(zeros as *mut [AtomicU8]) }
}

/// As [`zeroed_bytes`].
fn zeroed_words(count: usize) -> Box<[AtomicU64]> {
    const { assert!(align_of::<AtomicU64>() == align_of::<u64>()) }
    let zeros = Box::into_raw(vec![0u64; count].into_boxed_slice());
    // SAFETY: an `AtomicU64` has the layout of a `u64`, its alignment included, as asserted.
    unsafe { Box::from_raw(zeros as *mut [AtomicU64]) }
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

    /// Notes what it is told.
    #[derive(Default)]
    struct Noting(Mutex<Vec<(&'static str, usize)>>);

    impl Noting {
        fn note(&self, what: &'static str, page: usize) {
            self.0.lock().unwrap().push((what, page));
        }

        fn take(&self) -> Vec<(&'static str, usize)> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Runner for Noting {
        fn forbid(&self, page: usize) {
            self.note("forbid", page);
        }
        fn forbid_all(&self) {
            self.note("forbid all", 0);
        }
        fn stale(&self, page: usize) {
            self.note("stale", page);
        }
        fn settle(&self) {
            self.note("settle", 0);
        }
    }

    #[test]
    fn runners_are_told_of_what_they_named_and_of_nothing_else() {
        let watch = Watch::new(8);
        let (a, b) = (Arc::new(Noting::default()), Arc::new(Noting::default()));
        let as_a = watch.enlist(Arc::clone(&a) as Arc<dyn Runner>);
        let as_b = watch.enlist(Arc::clone(&b) as Arc<dyn Runner>);
        assert!(watch.grant(&as_a, 1, true) && watch.grant(&as_b, 2, false));
        let generation = watch.cache_code_of(&as_b, RamOffset(0x1000), 64);
        assert_eq!((a.take(), b.take()), (vec![("forbid", 1), ("settle", 0)], vec![]));
        assert!(!watch.grant(&as_a, 1, true), "it holds code now");
        watch.cache_code_of(&as_b, RamOffset(0x1040), 64);
        assert_eq!(a.take(), [], "the page is under watch already");
        assert!(watch.wrote(RamOffset(0x1040), 1));
        assert_ne!(watch.generation(1), generation);
        assert_eq!((a.take(), b.take()), (vec![], vec![("stale", 1)]));
        assert!(watch.grant(&as_a, 1, true), "the page holds data again");
        watch.cache_code(RamOffset(0x1000), 1);
        assert_eq!(a.take(), [("forbid", 1), ("settle", 0)]);
        watch.wrote(RamOffset(0x1000), 1);
        assert_eq!(b.take(), [], "its code is gone long since");
        watch.dismiss(&as_a);
        watch.grant(&as_a, 5, true);
        watch.cache_code(RamOffset(0x5000), 1);
        assert_eq!(a.take(), []);
    }

    #[test]
    fn what_a_runner_writes_is_in_the_dirty_log() {
        let watch = Watch::new(8);
        let a = Arc::new(Noting::default());
        let as_a = watch.enlist(Arc::clone(&a) as Arc<dyn Runner>);
        assert!(watch.grant(&as_a, 1, true));
        watch.start_dirty_log();
        assert_eq!(a.take(), [("forbid all", 0), ("settle", 0)]);
        assert!(!watch.grant(&as_a, 1, false), "not ahead of a write");
        assert!(watch.grant(&as_a, 2, true));
        assert_eq!(watch.take_dirty(), [2]);
        assert_eq!(a.take(), [("forbid", 2), ("settle", 0)]);
        assert_eq!(watch.take_dirty(), [] as [usize; 0]);
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
