//! The translation cache: linear page → RAM page, one table for each view.
//!
//! An entry carries one tag for each kind of access, so that a hit proves the right as well as the
//! mapping. A tag is the linear page number with the PCID in its low 12 bits; pages of devices are never
//! cached. `write` is filled only when the page's dirty bit is set already.

use base::RamOffset;

/// Entries of one view.
const ENTRIES: usize = 1024;
/// Matches no address: no tag has this PCID (see `set_pcid`).
const EMPTY: u64 = 0x8000_0000_0000_0fff;

/// One cached translation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub read: u64,
    pub write: u64,
    pub fetch: u64,
    /// Start of the page in RAM.
    pub page: u64,
    /// The page is global: valid under every PCID.
    global: bool,
}

const VACANT: Entry = Entry { read: EMPTY, write: EMPTY, fetch: EMPTY, page: 0, global: false };

/// What a page walk found for a page, as seen by one view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    pub read: bool,
    pub write: bool,
    pub fetch: bool,
    pub global: bool,
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
    /// The page of this linear address, of every PCID.
    Page(u64),
}

/// The translation caches of one vCPU.
#[derive(Debug)]
pub(crate) struct Tlb {
    /// Flushes not yet seen by the engine on top, where there is one.
    flushes: Option<Vec<Flush>>,
    /// By [`View`](crate::mode::View); the fourth is never filled.
    views: [Box<[Entry; ENTRIES]>; 4],
    /// The PCID of CR3, or zero: part of every tag.
    pcid: u64,
    /// The PCID is really FFFh.
    borrowed: bool,
}

impl Default for Tlb {
    fn default() -> Self {
        let view = || Box::new([VACANT; ENTRIES]);
        Self { flushes: None, views: [view(), view(), view(), view()], pcid: 0, borrowed: false }
    }
}

impl Tlb {
    /// The entry in which a linear address would be cached, and the tag that would match.
    #[inline(always)]
    pub fn entry(&self, view: usize, linear: u64) -> (&Entry, u64) {
        (&self.views[view & 3][index(linear)], linear & !0xfff | self.pcid)
    }

    /// Caches a translation.
    pub fn fill(&mut self, view: usize, linear: u64, page: RamOffset, rights: Rights) {
        let tag = linear & !0xfff | self.pcid;
        let tag_if = |granted: bool| if granted { tag } else { EMPTY };
        self.views[view][index(linear)] = Entry {
            read: tag_if(rights.read),
            write: tag_if(rights.write),
            fetch: tag_if(rights.fetch),
            page: page.0,
            global: rights.global,
        };
    }

    /// A cached global page of another PCID is valid here too: takes it over. True if there was one.
    pub fn adopt_global(&mut self, view: usize, linear: u64) -> bool {
        let pcid = self.pcid;
        let entry = &mut self.views[view][index(linear)];
        if !entry.global {
            return false;
        }
        let mut adopted = false;
        for tag in [&mut entry.read, &mut entry.write, &mut entry.fetch] {
            if (*tag ^ linear) >> 12 == 0 && *tag & 0xfff != pcid {
                *tag = linear & !0xfff | pcid;
                adopted = true;
            }
        }
        adopted
    }

    /// Switches to another PCID; nothing is thrown away, except around PCID FFFh, whose number marks empty
    /// tags: it borrows another.
    pub fn set_pcid(&mut self, pcid: u64) {
        let borrowed = pcid & 0xfff == 0xfff;
        if borrowed || self.borrowed {
            self.flush_all();
        }
        self.borrowed = borrowed;
        self.pcid = if borrowed { 0xffe } else { pcid & 0xfff };
    }

    /// Keeps a list of flushes from now on, to be taken by `take_flushes`.
    pub fn observe(&mut self) {
        self.flushes = Some(Vec::new());
    }

    /// The flushes since the last call.
    pub fn take_flushes(&mut self) -> Vec<Flush> {
        self.flushes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, flush: Flush) {
        if let Some(flushes) = &mut self.flushes {
            if flushes.len() < 64 {
                flushes.push(flush);
            } else {
                *flushes = vec![Flush::All];
            }
        }
    }

    /// Throws everything away.
    pub fn flush_all(&mut self) {
        self.note(Flush::All);
        self.retain(|_| false);
    }

    /// Throws away what is not global, of all PCIDs.
    pub fn flush_not_global(&mut self) {
        self.note(Flush::NotGlobal);
        self.retain(|entry| entry.global);
    }

    /// Throws away what is not global of one PCID.
    pub fn flush_pcid(&mut self, pcid: u64) {
        self.note(Flush::Pcid(pcid & 0xfff));
        let pcid = (pcid & 0xfff).min(0xffe);
        self.retain(|entry| {
            let of_it = |tag: u64| tag != EMPTY && tag & 0xfff == pcid;
            entry.global || !(of_it(entry.read) || of_it(entry.write) || of_it(entry.fetch))
        });
    }

    /// Throws away one page under every PCID, global or not (more than INVLPG asks for).
    pub fn flush_page(&mut self, linear: u64) {
        self.note(Flush::Page(linear));
        for view in &mut self.views {
            view[index(linear)] = VACANT;
        }
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        for entry in self.views.iter_mut().flat_map(|view| view.iter_mut()) {
            if !keep(entry) {
                *entry = VACANT;
            }
        }
    }
}

#[inline(always)]
fn index(linear: u64) -> usize {
    (linear >> 12) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Rights = Rights { read: true, write: true, fetch: true, global: false };

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
        tlb.flush_not_global();
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
}
