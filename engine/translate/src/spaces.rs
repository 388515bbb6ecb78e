//! Address spaces whose code is linked across pages.
//!
//! A block of a program does not know its address, for other programs may have the same code elsewhere; so each of its calls into
//! another page goes by the jump cache, a dozen operations and an indirect branch. A program that has run for some milliseconds gets
//! translations for itself: its *space*, a small number, becomes a part of the key; blocks know their address; and a branch to another
//! page is a link, as in a kernel's global pages.
//!
//! Such a link holds as long as the page that it leads to is where it was. A kernel's page is, until the guest flushes it. A
//! program's pages are flushed all at once, over and over, and nothing has changed mostly. So a flush only makes the space *suspect*, and before
//! anything runs in it again each page that links lead to is looked up in the guest's tables: the links to those that are
//! elsewhere now, or may not be executed, are undone. Where that is most of them, the program has ended, and its root table is another's:
//! where it had not run for long the space ends, too, and the next program there has to run for longer. Otherwise that inherits the space: the
//! programs of a script are often the same.

use interpret::Flush;
use rustc_hash::FxHashMap;

/// Spaces at a time: the key of a block has three bits for them, and zero is none.
const MOST: usize = 7;
/// Samples of a vCPU that found the same program before it gets a space.
const PATIENCE: u8 = 2;
/// Host ticks between two samples that count.
const APART: u64 = 1 << 20;
/// Host ticks for which a space is not taken away: some hundredths of a second.
const KEPT: u64 = 1 << 27;
/// Pages beyond which it is cheaper to link anew than to look them all up.
const MOST_PAGES: usize = 512;
/// The most programs whose samples are counted.
const MOST_SEEN: usize = 256;
/// Host ticks for which a root table gets no space after one has ended: the first time, and at most.
const REST: (u64, u64) = (1 << 28, 1 << 34);
/// Host ticks in which a program has paid for its space: some milliseconds.
const PAID: u64 = 1 << 24;
/// No root table: a space that has ended.
const ENDED: u64 = u64::MAX;

/// The page of RAM that links to a page rest on, and whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linked {
    /// The number of the page of RAM.
    pub ram: usize,
    /// User code.
    pub user: bool,
}

#[derive(Debug)]
struct Space {
    root: u64,
    pcid: u64,
    suspect: bool,
    /// When it was last entered, in host ticks.
    last: u64,
    /// When its present program was first known to be there.
    since: u64,
    pages: FxHashMap<u64, Linked>,
}

/// What is known of the programs with a root table.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Samples that found one.
    samples: u8,
    /// No space before this time, and for how long that was, in host ticks.
    rests_until: u64,
    rest: u64,
}

/// What has become of a suspect space.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Pages to which links must be undone.
    pub gone: Vec<u64>,
    /// That was most of them: the present address space has no space any more.
    pub ended: bool,
}

/// The spaces of a vCPU.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    list: Vec<Space>,
    /// Where the vCPU is: root table and PCID.
    here: Option<(u64, u64)>,
    /// The space of that, one more than its place in the list, or zero.
    now: u8,
    seen: FxHashMap<u64, Seen>,
    looked: u64,
    /// Every address space has one, for tests.
    pub always: bool,
}

impl Spaces {
    /// None yet; with `always` each address space will get one at once.
    pub fn new(always: bool) -> Self {
        Self { always, ..Self::default() }
    }

    /// The present space; zero if there is none.
    pub fn now(&self) -> u8 {
        self.now
    }

    /// The vCPU is in this address space, at a time in host ticks. True if that is news.
    pub fn enter(&mut self, root: u64, pcid: u64, ticks: impl FnOnce() -> u64) -> bool {
        if self.here == Some((root, pcid)) {
            return false;
        }
        self.here = Some((root, pcid));
        self.now = 0;
        if let Some(at) = self.list.iter().position(|space| space.root == root) {
            self.now = at as u8 + 1;
            let space = &mut self.list[at];
            space.last = ticks();
            // What was flushed under the other number is not known here.
            space.suspect |= space.pcid != pcid;
            space.pcid = pcid;
        }
        true
    }

    fn present(&mut self) -> Option<&mut Space> {
        self.list.get_mut(usize::from(self.now.checked_sub(1)?))
    }

    /// Is the vCPU where this space is?
    pub fn is_in(&self, space: u8, root: u64) -> bool {
        self.list.get(usize::from(space) - 1).is_some_and(|space| space.root == root)
    }

    /// A program was found running. True if it shall have a space.
    pub fn consider(&mut self, root: u64, now: u64) -> bool {
        if self.now != 0 || now.wrapping_sub(self.looked) < APART {
            return false;
        }
        self.looked = now;
        let seen = self.seen(root);
        if now < seen.rests_until {
            return false;
        }
        seen.samples = seen.samples.saturating_add(1);
        seen.samples >= PATIENCE && (self.list.len() < MOST || self.oldest(now).is_some())
    }

    fn seen(&mut self, root: u64) -> &mut Seen {
        if self.seen.len() >= MOST_SEEN {
            self.seen.clear();
        }
        self.seen.entry(root).or_default()
    }

    /// The place of the space not used for longest, if it may go.
    fn oldest(&self, now: u64) -> Option<usize> {
        let age = |space: &Space| {
            if space.root == ENDED { u64::MAX } else { now.wrapping_sub(space.last) }
        };
        let (at, oldest) = self.list.iter().enumerate().max_by_key(|(_, space)| age(space))?;
        (self.always || age(oldest) >= KEPT).then_some(at)
    }

    /// Gives the present address space a space. Gives its number if another had it before: the blocks of that must go.
    pub fn adopt(&mut self, now: u64) -> Option<u8> {
        let (root, pcid) = self.here?;
        self.seen(root).samples = 0;
        let space = Space { root, pcid, suspect: false, last: now, since: now, pages: FxHashMap::default() };
        if self.list.len() < MOST {
            self.list.push(space);
            self.now = self.list.len() as u8;
            return None;
        }
        let at = self.oldest(now)?;
        self.list[at] = space;
        self.now = at as u8 + 1;
        Some(self.now)
    }

    /// A link in the present space leads to the page at `linear`.
    pub fn note(&mut self, linear: u64, linked: Linked) {
        if let Some(space) = self.present() {
            space.pages.insert(linear, linked);
        }
    }

    /// The guest has flushed something. (Links to single pages, and all where everything goes, are undone by the store.)
    pub fn flush(&mut self, flush: Flush) {
        for space in &mut self.list {
            match flush {
                Flush::All => space.pages.clear(),
                Flush::Page(linear) => {
                    space.pages.remove(&(linear & !(base::PAGE_SIZE - 1)));
                }
                Flush::NotGlobal => space.suspect = true,
                Flush::Pcid(pcid) => space.suspect |= space.pcid == pcid,
            }
        }
    }

    /// No link leads anywhere any more.
    pub fn forget(&mut self) {
        self.list.iter_mut().for_each(|space| space.pages.clear());
    }

    /// Looks at the present space if it is suspect: `look` gives the page of RAM that has the code at an address now, for user code
    /// or not.
    pub fn settle(
        &mut self,
        ticks: impl FnOnce() -> u64,
        mut look: impl FnMut(u64, bool) -> Option<usize>,
    ) -> Settled {
        let Some(space) = self.present() else { return Settled::default() };
        if !std::mem::take(&mut space.suspect) {
            return Settled::default();
        }
        let many = space.pages.len() > MOST_PAGES;
        let mut gone = Vec::new();
        space.pages.retain(|&linear, linked| {
            let same = !many && look(linear, linked.user) == Some(linked.ram);
            if !same {
                gone.push(linear);
            }
            same
        });
        if many || gone.len() <= space.pages.len() {
            return Settled { gone, ended: false };
        }
        let now = ticks();
        let ended = now.wrapping_sub(std::mem::replace(&mut space.since, now)) < PAID;
        if ended {
            let root = std::mem::replace(&mut space.root, ENDED);
            self.now = 0;
            let seen = self.seen(root);
            let rest = (2 * seen.rest).clamp(REST.0, REST.1);
            *seen = Seen { samples: 0, rests_until: now + rest, rest };
        }
        Settled { gone, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(spaces: &mut Spaces, root: u64, pcid: u64, now: u64) -> u8 {
        spaces.enter(root, pcid, || now);
        spaces.now()
    }

    #[test]
    fn who_is_found_twice_gets_one_and_keeps_it_for_a_while() {
        let mut spaces = Spaces::default();
        let mut now = KEPT;
        for root in 1..=MOST as u64 {
            assert_eq!(at(&mut spaces, root << 12, 0, now), 0);
            assert!(!spaces.consider(root << 12, now + APART) && !spaces.consider(root << 12, now + APART));
            now += 3 * APART;
            assert!(spaces.consider(root << 12, now));
            assert_eq!(spaces.adopt(now), None);
            assert_eq!(u64::from(spaces.now()), root);
        }
        assert_eq!(at(&mut spaces, 0x9000, 0, now), 0);
        let wanted: Vec<bool> = (1..9).map(|n| spaces.consider(0x9000, now + n * APART)).collect();
        assert!(!wanted.contains(&true), "all are in use");
        assert_eq!(at(&mut spaces, 0x1000, 0, now + KEPT), 1, "the first is used again");
        at(&mut spaces, 0x9000, 0, now);
        now += KEPT;
        assert!(spaces.consider(0x9000, now));
        assert_eq!(spaces.adopt(now), Some(2));
        assert!(spaces.is_in(2, 0x9000) && !spaces.is_in(2, 0x2000));
        assert_eq!(at(&mut spaces, 0x2000, 0, now), 0);
    }

    #[test]
    fn a_flush_makes_suspect_and_what_has_moved_goes() {
        let mut spaces = Spaces::default();
        at(&mut spaces, 0x1000, 3, 0);
        spaces.adopt(0);
        let linked = |ram| Linked { ram, user: true };
        for (linear, ram) in [(0x5000, 5), (0x6000, 6), (0x7000, 7), (0x8000, 8)] {
            spaces.note(linear, linked(ram));
        }
        let unmoved = |linear: u64, user: bool| user.then_some(linear as usize >> 12);
        let settle = |spaces: &mut Spaces, look: &dyn Fn(u64, bool) -> Option<usize>| {
            let mut settled = spaces.settle(|| 0, look);
            settled.gone.sort_unstable();
            assert!(!settled.ended);
            settled.gone
        };
        let never = |_, _| unreachable!("it is not suspect");
        assert!(settle(&mut spaces, &never).is_empty());
        spaces.flush(Flush::Pcid(4));
        spaces.flush(Flush::Page(0x6123));
        assert!(settle(&mut spaces, &never).is_empty());
        spaces.flush(Flush::Pcid(3));
        assert!(settle(&mut spaces, &unmoved).is_empty());
        // Elsewhere meanwhile, and back under another number.
        at(&mut spaces, 0x2000, 3, 0);
        assert!(settle(&mut spaces, &never).is_empty());
        at(&mut spaces, 0x1000, 5, 0);
        let moved = |linear, user| if linear == 0x7000 { None } else { unmoved(linear, user) };
        assert_eq!(settle(&mut spaces, &moved), [0x7000]);
        spaces.flush(Flush::NotGlobal);
        assert_eq!(settle(&mut spaces, &|_, _| Some(5)), [0x8000]);
        spaces.flush(Flush::All);
        spaces.flush(Flush::NotGlobal);
        assert!(settle(&mut spaces, &|_, _| unreachable!("nothing is left")).is_empty());
        for n in 0..=MOST_PAGES as u64 {
            spaces.note(n << 12, linked(n as usize));
        }
        spaces.flush(Flush::NotGlobal);
        assert_eq!(settle(&mut spaces, &unmoved).len(), MOST_PAGES + 1, "too many to look at");
    }

    #[test]
    fn where_most_has_moved_another_program_has_come_and_must_run_for_longer() {
        let mut spaces = Spaces::default();
        let mut now = 10 * REST.1;
        let mut rests = Vec::new();
        for _ in 0..3 {
            at(&mut spaces, 0x1000, 3, now);
            spaces.adopt(now);
            assert_ne!(spaces.now(), 0);
            (1..4).for_each(|n| spaces.note(n << 12, Linked { ram: n as usize, user: true }));
            spaces.flush(Flush::Pcid(3));
            let most = |linear: u64, _| (linear == 0x1000).then_some(1);
            now += PAID;
            assert!(!spaces.settle(|| now, most).ended, "the next inherits it");
            (1..4).for_each(|n| spaces.note(n << 12, Linked { ram: n as usize, user: true }));
            spaces.flush(Flush::Pcid(3));
            let settled = spaces.settle(|| now + PAID / 2, most);
            assert!(settled.ended && settled.gone.len() == 2 && spaces.now() == 0);
            assert_eq!(spaces.settle(|| now, |_, _| unreachable!()), Settled::default());
            at(&mut spaces, 0x2000, 3, now);
            assert_eq!(at(&mut spaces, 0x1000, 3, now), 0, "nobody finds it any more");
            let began = now;
            while !spaces.consider(0x1000, now) {
                now += APART;
            }
            rests.push(now - began);
        }
        assert!(rests[0] >= REST.0 && rests[1] >= 2 * REST.0 && rests[2] >= 4 * REST.0);
        at(&mut spaces, 0x1000, 3, now);
        for root in 2..=MOST as u64 {
            spaces.adopt(now);
            at(&mut spaces, root << 12, 3, now);
        }
        assert_eq!(spaces.adopt(now), Some(1), "the place of one that has ended is free at once");
    }
}
