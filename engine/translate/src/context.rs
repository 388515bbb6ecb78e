//! The contexts of one vCPU: an address space seen with the rights of one view, each with its shadow map.

use std::io;

use interpret::{Facts, Flush, Mapped};

use crate::frame::FramePage;
use crate::map::{PAGE_BITS, ShadowMap};

/// The most contexts that a vCPU keeps; beyond that the least recently used is taken over.
const MOST: usize = 24;
/// The fewest that a vCPU must be able to keep: the views of one address space, and one to switch to.
const FEWEST: usize = 4;
/// Address space that the contexts of all vCPUs may reserve. A process has 128 TiB, of which guest memory and its
/// guard take a good part.
const SPACE: u64 = 96 << 40;

/// Bytes of tables that all vCPUs may have open, beside a part of guest memory; what is beyond that is given back. That part
/// is what the tables for reads and for writes take for each page of guest memory.
const TABLES: usize = 24 << 20;
/// See [`TABLES`].
const TABLES_PART: usize = 32;
/// The most for all vCPUs.
const MOST_TABLES: usize = 384 << 20;
/// Stretches of tables that all vCPUs may have open: each is a mapping of the host's in up to three tables, and what lies behind it
/// another, of which a process has 65530 in all.
const MOST_STRETCHES: usize = 8 << 10;
/// The least for each: some address spaces of a kernel.
const LEAST_TABLES: usize = 14 << 20;
/// The longest list of filled pages that a context keeps in a small guest; in others it is as long as memory has pages.
const MOST_FILLED: usize = 1 << 18;

/// How many contexts each of so many vCPUs may keep; `None` if they are too many vCPUs for the address space.
pub(crate) fn contexts_each(vcpus: u32) -> Option<usize> {
    let each = (SPACE / ShadowMap::RESERVED as u64 / u64::from(vcpus.max(1))) as usize;
    (each >= FEWEST).then_some(each.min(MOST))
}

/// Bytes of tables that each vCPU may have open, the guest having so many pages.
fn most_tables(vcpus: u32, pages: usize) -> usize {
    let all = TABLES + pages * base::PAGE_SIZE as usize / TABLES_PART;
    (all.min(MOST_TABLES) / vcpus.max(1) as usize).max(LEAST_TABLES)
}

/// The GS bases of the contexts of one address space.
#[derive(Clone, Copy)]
pub(crate) struct Views {
    /// The supervisor's with AC clear, and with AC set.
    pub supervisor: [u64; 2],
    /// The user's.
    pub user: u64,
}

/// What tells contexts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pcid: u64,
    user: bool,
    reaches_user: bool,
}

impl View {
    pub fn of(facts: &Facts) -> Self {
        Self { pcid: facts.pcid, user: facts.user, reaches_user: facts.reaches_user }
    }
}

struct Context {
    view: View,
    map: ShadowMap,
    used: u64,
}

/// One entry for writes, in the list of its RAM page: so that writes can be forbidden when the page comes
/// under watch. In one word: the page's number, the context's above it, and above that the next writer's number.
#[derive(Clone, Copy)]
struct Writer(u64);

impl Writer {
    const CONTEXT_BITS: u32 = 5;
    const PLACE_BITS: u32 = PAGE_BITS + Self::CONTEXT_BITS;

    fn place(context: usize, linear: u64) -> u64 {
        (context as u64) << PAGE_BITS | linear >> 12 & ((1 << PAGE_BITS) - 1)
    }

    fn new(place: u64, next: u32) -> Self {
        Self(u64::from(next) << Self::PLACE_BITS | place)
    }

    fn is_at(self, place: u64) -> bool {
        self.0 % (1 << Self::PLACE_BITS) == place
    }

    fn next(self) -> u32 {
        (self.0 >> Self::PLACE_BITS) as u32
    }

    fn context(self) -> usize {
        (self.0 >> PAGE_BITS) as usize % (1 << Self::CONTEXT_BITS)
    }

    fn linear(self) -> u64 {
        (self.0 % (1 << PAGE_BITS)) << 12
    }
}

const _: () = assert!(MOST <= 1 << Writer::CONTEXT_BITS);
const _: () = assert!(MOST_WRITERS + 1 < 1 << (64 - Writer::PLACE_BITS));

/// No writer.
const NONE: u32 = 0;
/// The most writers noted; beyond that everything is forgotten and starts afresh. 8 MiB.
const MOST_WRITERS: usize = 1 << 20;
/// So many of a page's last writers are looked through before one is noted that may be there already.
const LOOKED_THROUGH: usize = 4;

/// The address space that was asked for last, and the numbers of its contexts: supervisor, supervisor that reaches user
/// pages, user.
struct Last {
    pcid: u64,
    smap: bool,
    numbers: [usize; 3],
    views: Views,
}

/// All contexts of a vCPU.
pub(crate) struct Contexts {
    list: Vec<Context>,
    most: usize,
    /// Bytes of tables.
    most_tables: usize,
    /// Stretches of them.
    most_stretches: usize,
    current: usize,
    last: Option<Last>,
    clock: u64,
    /// By RAM page: the number of the last noted writer, counted from one. Zeroed memory, of which the host gives what is
    /// written.
    heads: Vec<u32>,
    writers: Vec<Writer>,
    ram: u64,
    guard: u64,
}

impl Contexts {
    /// None yet, and at most so many later. `ram` is the host address of guest RAM, which has `pages` pages; `guard` that of
    /// the page that absent pages lead to.
    pub fn new(vcpus: u32, most: usize, ram: u64, guard: u64, pages: usize) -> Self {
        Self {
            list: Vec::new(),
            most,
            most_tables: most_tables(vcpus, pages),
            most_stretches: MOST_STRETCHES / vcpus.max(1) as usize,
            current: 0,
            last: None,
            clock: 0,
            heads: vec![NONE; pages], // zeros: no memory yet
            writers: Vec::new(),
            ram,
            guard,
        }
    }

    /// Makes the context of `view` the current one and gives the GS bases of all views of its address space.
    pub fn views(&mut self, view: View, smap: bool, frame: &FramePage) -> io::Result<Views> {
        if let Some(last) = &self.last
            && last.pcid == view.pcid
            && last.smap == smap
        {
            let wanted = usize::from(view.user) << 1 | usize::from(view.reaches_user);
            self.current = last.numbers[wanted];
            return Ok(last.views);
        }
        let of = |user, reaches_user| View { user, reaches_user, ..view };
        let mut numbers = [0; 3];
        let supervisor = self.enter(of(false, false), frame)?;
        numbers[0] = self.current;
        let reaching = if smap { self.enter(of(false, true), frame)? } else { supervisor };
        numbers[1] = self.current;
        let user = self.enter(of(true, false), frame)?;
        numbers[2] = self.current;
        self.enter(view, frame)?;
        let views = Views { supervisor: [supervisor, reaching], user };
        self.last = Some(Last { pcid: view.pcid, smap, numbers, views });
        Ok(views)
    }

    /// Makes the context of `view` the current one and gives its GS base.
    pub fn enter(&mut self, view: View, frame: &FramePage) -> io::Result<u64> {
        if self.list.get(self.current).is_none_or(|context| context.view != view) {
            self.current = match self.list.iter().position(|context| context.view == view) {
                Some(found) => found,
                None => self.make(view, frame)?,
            };
            self.clock += 1;
            self.list[self.current].used = self.clock;
        }
        Ok(self.list[self.current].map.gs())
    }

    fn make(&mut self, view: View, frame: &FramePage) -> io::Result<usize> {
        if self.list.len() < self.most {
            match ShadowMap::new(frame, self.guard) {
                Ok(map) => {
                    self.list.push(Context { view, map, used: 0 });
                    return Ok(self.list.len() - 1);
                }
                // The host limits address space or mappings: those that there are must do.
                Err(_) if self.list.len() >= FEWEST => self.most = self.list.len(),
                Err(error) => return Err(error),
            }
        }
        self.last = None;
        let oldest = (0..self.list.len()).min_by_key(|&n| self.list[n].used).unwrap_or(0);
        self.list[oldest].map.empty();
        self.list[oldest].view = view;
        Ok(oldest)
    }

    /// The current context's map.
    pub fn map(&mut self) -> &mut ShadowMap {
        &mut self.list[self.current].map
    }

    /// Enters a page into the current map. `writable` is false while the page is under watch.
    pub fn fill(&mut self, linear: u64, mapped: &Mapped, writable: bool) -> io::Result<()> {
        let linear = linear & !0xfff;
        let addend = self.ram.wrapping_add(mapped.page.0).wrapping_sub(linear);
        let write = mapped.write && writable;
        let addends = (mapped.read.then_some(addend), write.then_some(addend));
        self.grow(|map| map.fill(linear, addends.0, addends.1, mapped.global))?;
        if write {
            self.note_writer(mapped.page.page(), Writer::place(self.current, linear));
        }
        if self.writers.len() > MOST_WRITERS {
            self.forget();
        }
        Ok(())
    }

    /// Prepares the current map for lookups of a page that is never entered, a device's: without a part of the map
    /// there, the lookup itself would fault, and a comparison after it would never come to its turn.
    pub fn open(&mut self, linear: u64) -> io::Result<()> {
        self.grow(|map| map.open(linear))
    }

    /// Does something to the current map by which it may grow.
    fn grow(&mut self, change: impl Fn(&mut ShadowMap) -> io::Result<()>) -> io::Result<()> {
        let current = self.current;
        let before = self.list[current].map.granules();
        if change(&mut self.list[current].map).is_err() {
            // Each part of a map in use is a mapping of the host's, which has so many and no more.
            self.forget();
            change(&mut self.list[current].map)?;
        }
        let map = &mut self.list[current].map;
        if map.filled() > self.heads.len().max(MOST_FILLED) {
            // To forget them one by one would cost more than to fill anew.
            map.empty();
        }
        if map.granules() > before && !self.fits(1, 1) {
            self.make_room();
        }
        Ok(())
    }

    /// Gives tables back: those that nothing is entered in any more, then those of the contexts that were not used for longest.
    fn make_room(&mut self) {
        self.list.iter_mut().for_each(|context| context.map.shrink());
        let mut others: Vec<usize> = (0..self.list.len()).filter(|&n| n != self.current).collect();
        others.sort_unstable_by_key(|&n| self.list[n].used);
        for n in others {
            if self.fits(3, 4) {
                return;
            }
            self.list[n].map.empty();
        }
        if !self.fits(3, 4) {
            self.forget();
        }
    }

    /// Do the tables fit in this part of what they may take?
    fn fits(&self, part: usize, whole: usize) -> bool {
        let stretches: usize = self.list.iter().map(|context| context.map.stretches()).sum();
        self.resident() <= self.most_tables / whole * part && stretches <= self.most_stretches / whole * part
    }

    fn note_writer(&mut self, ram_page: usize, place: u64) {
        let head = &mut self.heads[ram_page];
        let mut at = *head;
        for _ in 0..LOOKED_THROUGH {
            if at == NONE {
                break;
            }
            let writer = self.writers[at as usize - 1];
            if writer.is_at(place) {
                return;
            }
            at = writer.next();
        }
        self.writers.push(Writer::new(place, *head));
        *head = self.writers.len() as u32;
    }

    /// Forbids writes to a RAM page in every map: it has come under watch.
    pub fn forbid_writes(&mut self, ram_page: usize) {
        let host = self.ram + ram_page as u64 * 4096;
        let mut at = std::mem::replace(&mut self.heads[ram_page], NONE);
        while at != NONE {
            let writer = self.writers[at as usize - 1];
            self.list[writer.context()].map.forbid_write(writer.linear(), host);
            at = writer.next();
        }
    }

    /// Forgets what the guest flushed.
    pub fn flush(&mut self, flush: Flush) {
        for context in &mut self.list {
            match flush {
                Flush::All => context.map.poison(true),
                Flush::NotGlobal => context.map.poison(false),
                Flush::Pcid(pcid) if context.view.pcid == pcid => context.map.poison(false),
                Flush::Pcid(_) => {}
                Flush::Page(linear) => context.map.poison_page(linear),
            }
        }
    }

    /// Forgets all jumps of all contexts.
    pub fn clear_jumps(&mut self) {
        for context in &mut self.list {
            context.map.clear_jumps(true);
        }
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        for context in &mut self.list {
            context.map.empty();
        }
        self.writers = Vec::new();
        self.heads.fill(NONE);
    }

    /// Bytes of tables.
    pub fn resident(&self) -> usize {
        self.list.iter().map(|context| context.map.resident()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::RamOffset;

    const PAGE: Mapped = Mapped { page: RamOffset(0), read: true, write: true, global: false };
    /// Guest addresses that share a part of a table.
    const PART: u64 = 1 << 18;

    fn view(pcid: u64) -> View {
        View { pcid, user: true, reaches_user: false }
    }

    /// Enters a page in each of so many parts of the present map, from `first` on.
    fn spread(contexts: &mut Contexts, first: u64, count: u64) {
        for n in first..first + count {
            contexts.fill(n * PART, &PAGE, true).unwrap();
            assert!(contexts.map().entry(n * PART).1.is_some(), "what was just entered is there");
            assert!(contexts.resident() <= contexts.most_tables);
        }
    }

    #[test]
    fn tables_stay_within_their_bound() {
        let frame = FramePage::new().unwrap();
        let mut contexts = Contexts::new(1, 4, 1 << 40, 2 << 40, 256);
        for round in 0..3 {
            for pcid in 0..4 {
                contexts.enter(view(pcid), &frame).unwrap();
                spread(&mut contexts, 4000 * round, 1200);
            }
        }
        // The RAM page is entered in many places still; all of them can be found.
        contexts.forbid_writes(0);
        for pcid in 0..4 {
            contexts.enter(view(pcid), &frame).unwrap();
            assert!((0..12000).all(|n| contexts.map().entry(n * PART).1.is_none()));
        }
    }

    #[test]
    fn what_is_empty_goes_before_what_is_in_use() {
        let frame = FramePage::new().unwrap();
        let mut contexts = Contexts::new(1, 4, 1 << 40, 2 << 40, 256);
        contexts.enter(view(1), &frame).unwrap();
        spread(&mut contexts, 0, 200);
        contexts.enter(view(2), &frame).unwrap();
        spread(&mut contexts, 0, 2800);
        let before = contexts.resident();
        contexts.flush(Flush::Pcid(2));
        assert_eq!(contexts.resident(), before, "a new process may use the same places");
        spread(&mut contexts, 4000, 200);
        assert!(contexts.resident() < before / 2);
        contexts.flush(Flush::Pcid(2)); // of pages in parts that are gone, too
        contexts.enter(view(1), &frame).unwrap();
        assert!((0..200).all(|n| contexts.map().entry(n * PART).0.is_some()));
    }

    #[test]
    fn stretches_are_counted_and_stay_within_their_bound() {
        let frame = FramePage::new().unwrap();
        let mut contexts = Contexts::new(1, 4, 1 << 40, 2 << 40, 256);
        contexts.enter(view(1), &frame).unwrap();
        let fill = |contexts: &mut Contexts, part: u64| contexts.fill(part * PART, &PAGE, true).unwrap();
        for (part, stretches) in [(2, 1), (0, 2), (5, 3), (4, 3), (1, 2), (3, 1), (2, 1)] {
            fill(&mut contexts, part);
            assert_eq!(contexts.map().stretches(), stretches, "with part {part}");
        }
        contexts.flush(Flush::Page(3 * PART));
        contexts.map().shrink();
        assert_eq!(contexts.map().stretches(), 2, "the third of six has gone");
        for n in 10..10 + 2 * MOST_STRETCHES as u64 {
            fill(&mut contexts, 2 * n);
            assert!(contexts.map().stretches() <= MOST_STRETCHES);
        }
        contexts.forget();
        assert_eq!(contexts.map().stretches(), 0);
    }
}
