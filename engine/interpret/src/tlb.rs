//! The translation cache: linear page → RAM page, one table for each view.
//!
//! An entry carries one tag for each kind of access, so that a hit proves the right as well as the
//! mapping. A tag is the linear page number with a *context* in its low 12 bits; pages of devices are never
//! cached. `write` is filled only when the page's dirty bit is set already.
//!
//! A context is a number that stands for one PCID between two flushes of it. To flush a PCID is to give it
//! a fresh context, so CR3 writes cost the same however much is cached; when the numbers run out the tables are
//! emptied for good, once in four thousand flushes. Global pages keep an old context and are adopted by the
//! present one when they are met.
//!
//! Each page has one place in the table of its view. What has to give way there goes to the same place in a
//! second table, where it is found without a walk: else code and data a multiple of 4 MiB apart would cost a
//! walk at every step.
//!
//! A page larger than 4 KiB is cached piece by piece. INVLPG must forget all pieces, so a set of bits
//! remembers which stretches of address space have such pieces at all.

use base::RamOffset;

/// Entries of one view.
const ENTRIES: usize = 1024;
/// The largest context; one more would be that of `EMPTY`.
const LAST_CONTEXT: u16 = 0xffe;
/// Matches no address: no tag has this context.
const EMPTY: u64 = 0x8000_0000_0000_0fff;
/// PCIDs.
const PCIDS: usize = 4096;

/// One cached translation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub read: u64,
    pub write: u64,
    pub fetch: u64,
    /// Start of the page in RAM.
    pub page: u64,
    /// The page is global: valid under every PCID.
    pub global: bool,
    /// Address bits within the page that the guest mapped.
    shift: u8,
    /// The linear page, for what the tags do not tell.
    linear: u64,
}

const VACANT: Entry =
    Entry { read: EMPTY, write: EMPTY, fetch: EMPTY, page: 0, global: false, shift: 12, linear: EMPTY };

/// What a page walk found for a page, as seen by one view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    pub read: bool,
    pub write: bool,
    pub fetch: bool,
    pub global: bool,
    /// Address bits within the page that the guest mapped: 12, 21, 22 or 30.
    pub shift: u8,
}

/// What was forgotten: for an engine on top that keeps maps of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everything.
    All,
    /// All that is not global, of every PCID.
    NotGlobal,
    /// All that is not global of this PCID.
    Pcid(u64),
    /// The 4 KiB page of this linear address, of every PCID.
    Page(u64),
}

/// The most flushes kept for the engine on top; beyond that they become one of everything.
const MOST_FLUSHES: usize = 64;

/// The translation caches of one vCPU.
#[derive(Debug)]
pub(crate) struct Tlb {
    /// Flushes not yet seen by the engine on top, where there is one.
    flushes: Option<Vec<Flush>>,
    /// By [`View`](crate::mode::View); the fourth is never filled.
    views: [Box<[Entry; ENTRIES]>; 4],
    /// What had to give way in `views`.
    seconds: [Box<[Entry; ENTRIES]>; 4],
    /// The context of the present PCID: part of every tag.
    context: u64,
    /// The PCID of CR3, or zero.
    pcid: usize,
    /// The context of each PCID; zero for none yet.
    contexts: Box<[u16; PCIDS]>,
    /// The last context given out.
    last: u16,
    large: LargePages,
}

impl Default for Tlb {
    fn default() -> Self {
        let view = || Box::new([VACANT; ENTRIES]);
        let mut tlb = Self {
            flushes: None,
            views: [view(), view(), view(), view()],
            seconds: [view(), view(), view(), view()],
            context: 0,
            pcid: 0,
            contexts: Box::new([0; PCIDS]),
            last: 0,
            large: LargePages::default(),
        };
        tlb.enter_context();
        tlb
    }
}

impl Tlb {
    /// The entry in which a linear address would be cached, and the tag that would match.
    #[inline(always)]
    pub fn entry(&self, view: usize, linear: u64) -> (&Entry, u64) {
        (&self.views[view & 3][index(linear)], linear & !0xfff | self.context)
    }

    /// Caches a translation.
    pub fn fill(&mut self, view: usize, linear: u64, page: RamOffset, rights: Rights) {
        let tag = linear & !0xfff | self.context;
        let tag_if = |granted: bool| if granted { tag } else { EMPTY };
        let entry = &mut self.views[view & 3][index(linear)];
        if entry.linear != linear & !0xfff {
            self.seconds[view & 3][index(linear)] = *entry;
        }
        *entry = Entry {
            read: tag_if(rights.read),
            write: tag_if(rights.write),
            fetch: tag_if(rights.fetch),
            page: page.0,
            global: rights.global,
            shift: rights.shift,
            linear: linear & !0xfff,
        };
        if rights.shift > 12 {
            self.large.note(linear);
        }
    }

    /// Finds a translation that is cached, though not where [`Tlb::entry`] looks or not under the present
    /// context, and puts it there. False if there is none: then the next call would find none either.
    pub fn recover(&mut self, view: usize, linear: u64) -> bool {
        if self.adopt_global(view, linear) {
            return true;
        }
        let second = &mut self.seconds[view & 3][index(linear)];
        if second.linear != linear & !0xfff {
            return false;
        }
        let tag = linear & !0xfff | self.context;
        let current = [second.read, second.write, second.fetch].contains(&tag);
        if !current && !second.global {
            return false;
        }
        std::mem::swap(second, &mut self.views[view & 3][index(linear)]);
        current || self.adopt_global(view, linear)
    }

    /// A cached global page of another context is valid here too: takes it over. True if there was one.
    fn adopt_global(&mut self, view: usize, linear: u64) -> bool {
        let context = self.context;
        let entry = &mut self.views[view & 3][index(linear)];
        if !entry.global {
            return false;
        }
        let mut adopted = false;
        for tag in [&mut entry.read, &mut entry.write, &mut entry.fetch] {
            if (*tag ^ linear) >> 12 == 0 && *tag & 0xfff != context {
                *tag = linear & !0xfff | context;
                adopted = true;
            }
        }
        adopted
    }

    /// Switches to another PCID; nothing is thrown away.
    #[inline]
    pub fn set_pcid(&mut self, pcid: u64) {
        let pcid = pcid as usize % PCIDS;
        if pcid != self.pcid {
            self.pcid = pcid;
            self.enter_context();
        }
    }

    /// Keeps a list of flushes from now on, to be taken by [`Tlb::take_flushes`].
    pub fn observe(&mut self) {
        self.flushes = Some(Vec::new());
    }

    /// The flushes since the last call.
    pub fn take_flushes(&mut self) -> Vec<Flush> {
        self.flushes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The engine on top has entered a page of this size (in address bits) into its maps.
    pub fn note_size(&mut self, linear: u64, shift: u8) {
        if shift > 12 {
            self.large.note(linear);
        }
    }

    fn note(&mut self, flush: Flush) {
        if let Some(flushes) = &mut self.flushes {
            if flushes.len() < MOST_FLUSHES {
                flushes.push(flush);
            } else {
                *flushes = vec![Flush::All];
            }
        }
    }

    /// Throws everything away.
    pub fn flush_all(&mut self) {
        self.note(Flush::All);
        self.large = LargePages::default();
        self.vacate();
    }

    /// Empties the cache itself. Nothing that the guest asked for, so nobody else needs to follow.
    fn vacate(&mut self) {
        for entry in self.entries() {
            *entry = VACANT;
        }
        self.contexts.fill(0);
        self.last = 0;
        self.enter_context();
    }

    /// Throws away what is not global, of all PCIDs.
    pub fn flush_not_global(&mut self) {
        self.note(Flush::NotGlobal);
        self.contexts.fill(0);
        self.enter_context();
    }

    /// Throws away what is not global of one PCID.
    pub fn flush_pcid(&mut self, pcid: u64) {
        let pcid = pcid as usize % PCIDS;
        self.note(Flush::Pcid(pcid as u64));
        self.contexts[pcid] = 0;
        if pcid == self.pcid {
            self.enter_context();
        }
    }

    /// Throws away one page, whatever its size, under every PCID, global or not (more than INVLPG asks for).
    pub fn flush_page(&mut self, linear: u64) {
        let large = self.large.may_have(linear);
        self.note(if large { Flush::All } else { Flush::Page(linear) });
        for view in self.views.iter_mut().chain(&mut self.seconds) {
            view[index(linear)] = VACANT;
        }
        if !large {
            return;
        }
        for entry in self.entries() {
            if entry.shift > 12 && (entry.linear ^ linear) >> entry.shift == 0 {
                *entry = VACANT;
            }
        }
    }

    /// All entries there are.
    fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.views.iter_mut().chain(&mut self.seconds).flat_map(|view| view.iter_mut())
    }

    /// Takes the present PCID's context, a fresh one if it has none.
    fn enter_context(&mut self) {
        if self.contexts[self.pcid] == 0 {
            if self.last == LAST_CONTEXT {
                return self.vacate(); // comes back here with all numbers free
            }
            self.last += 1;
            self.contexts[self.pcid] = self.last;
        }
        self.context = u64::from(self.contexts[self.pcid]);
    }
}

/// Which stretches of address space may have pieces of large pages in the cache: a bit for each gibibyte,
/// many of them sharing one. Errs on the side of yes.
#[derive(Debug, Default)]
struct LargePages {
    bits: [u64; 16],
}

impl LargePages {
    fn note(&mut self, linear: u64) {
        let (word, bit) = Self::place(linear);
        self.bits[word] |= bit;
    }

    fn may_have(&self, linear: u64) -> bool {
        let (word, bit) = Self::place(linear);
        self.bits[word] & bit != 0
    }

    fn place(linear: u64) -> (usize, u64) {
        let gibibyte = linear >> 30;
        let mixed = gibibyte ^ gibibyte >> 10;
        ((mixed >> 6) as usize % 16, 1 << (mixed & 63))
    }
}

#[inline(always)]
fn index(linear: u64) -> usize {
    (linear >> 12) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Rights = Rights { read: true, write: true, fetch: true, global: false, shift: 12 };

    fn hit(tlb: &Tlb, linear: u64) -> bool {
        let (entry, tag) = tlb.entry(1, linear);
        entry.read == tag
    }

    #[test]
    fn pcids_keep_apart_and_flush_apart() {
        let mut tlb = Tlb::default();
        tlb.fill(1, 0x5000, RamOffset(0x9000), ALL);
        tlb.set_pcid(3);
        assert!(!hit(&tlb, 0x5000));
        tlb.fill(1, 0x6000, RamOffset(0xa000), ALL);
        tlb.flush_pcid(3);
        assert!(!hit(&tlb, 0x6000));
        tlb.set_pcid(0);
        assert!(hit(&tlb, 0x5fff));
    }

    #[test]
    fn global_pages_survive_and_serve_every_pcid() {
        let mut tlb = Tlb::default();
        tlb.fill(1, 0x7000, RamOffset(0), Rights { global: true, ..ALL });
        tlb.fill(1, 0x8000, RamOffset(0), ALL);
        tlb.flush_not_global();
        assert!(!hit(&tlb, 0x8000) && !tlb.adopt_global(1, 0x8000));
        tlb.set_pcid(9);
        assert!(!hit(&tlb, 0x7000));
        assert!(tlb.adopt_global(1, 0x7000));
        assert!(hit(&tlb, 0x7000));
        assert!(!tlb.adopt_global(1, 0x40_7000), "the same slot, another page");
        tlb.flush_page(0x7000);
        assert!(!hit(&tlb, 0x7000));
    }

    #[test]
    fn an_empty_table_matches_nothing() {
        for pcid in [0, 0xffe, 0xfff] {
            let mut tlb = Tlb::default();
            tlb.set_pcid(pcid);
            assert!(!hit(&tlb, 0) && !hit(&tlb, 1 << 63) && !hit(&tlb, u64::MAX));
        }
    }

    #[test]
    fn contexts_that_run_out_start_over_and_bring_nothing_back() {
        let mut tlb = Tlb::default();
        for n in 0..10_000u64 {
            tlb.fill(1, 0x5000, RamOffset(0x9000), ALL);
            assert!(hit(&tlb, 0x5000));
            tlb.set_pcid(n);
            tlb.flush_pcid(n);
            assert!(!hit(&tlb, 0x5000), "round {n}");
        }
    }

    #[test]
    fn two_pages_of_one_place_are_both_kept() {
        let mut tlb = Tlb::default();
        let (a, b, c) = (0x5000, 0x40_5000, 0x80_5000);
        tlb.fill(1, a, RamOffset(0x1000), ALL);
        tlb.fill(1, b, RamOffset(0x2000), ALL);
        for (wanted, other, page) in [(a, b, 0x1000), (b, a, 0x2000), (a, b, 0x1000)] {
            assert!(!hit(&tlb, wanted) && tlb.recover(1, wanted) && hit(&tlb, wanted));
            assert_eq!(tlb.entry(1, wanted).0.page, page);
            assert!(!tlb.recover(1, wanted) && !hit(&tlb, other));
        }
        // Gone is gone, in both tables and under other PCIDs.
        tlb.flush_page(b);
        assert!(!tlb.recover(1, a) && !tlb.recover(1, b));
        tlb.fill(1, a, RamOffset(0x1000), ALL);
        tlb.fill(1, b, RamOffset(0x2000), Rights { global: true, ..ALL });
        tlb.fill(1, c, RamOffset(0x3000), ALL);
        tlb.flush_not_global();
        assert!(tlb.recover(1, b) && hit(&tlb, b), "global");
        assert!(!tlb.recover(1, c) && !hit(&tlb, c));
        tlb.flush_all();
        assert!(!tlb.recover(1, b));
    }

    #[test]
    fn a_large_page_goes_whole() {
        let mut tlb = Tlb::default();
        let large = Rights { shift: 21, ..ALL };
        tlb.fill(1, 0x40_0000, RamOffset(0), large);
        tlb.fill(1, 0x41_0000, RamOffset(0x1_0000), large);
        tlb.fill(1, 0x60_1000, RamOffset(0x20_0000), large);
        tlb.fill(1, 0x42_2000, RamOffset(0x1_0000), ALL);
        tlb.flush_page(0x5f_f000);
        assert!(!hit(&tlb, 0x40_0000) && !hit(&tlb, 0x41_0000));
        assert!(hit(&tlb, 0x60_1000), "its neighbour stays");
        assert!(hit(&tlb, 0x42_2000), "a small page of the same stretch stays");
    }
}
