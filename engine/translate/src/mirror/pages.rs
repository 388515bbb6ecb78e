//! Which of the guest's pages a mirror has mapped, and what must be looked at again before they are used once more.

use base::PAGE_SIZE;
use rustc_hash::FxHashMap;

use crate::station::Pages;

/// The most single pages kept to be looked at; beyond that it is all of them.
const MOST_SUSPECTS: usize = 512;

/// A mapped page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The number of its page of RAM.
    pub ram: u64,
    /// It may be written.
    pub write: bool,
}

/// Pages next to each other in the guest and in RAM, with the same rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first page's number.
    pub page: u64,
    /// How many they are.
    pub count: u64,
    /// Its page of RAM, and the rights.
    pub held: Held,
}

/// The pages of a mirror.
#[derive(Debug, Default)]
pub(crate) struct Mapped {
    held: FxHashMap<u64, Held>,
    /// Pages whose mapping the guest may have changed.
    suspects: Vec<u64>,
    all_suspect: bool,
    /// Pages of RAM that may not be written without asking any more.
    forbidden: Vec<u64>,
    all_forbidden: bool,
    /// Mappings of the host's that they take, at most.
    pub runs: usize,
}

impl Mapped {
    /// A page, by number.
    pub fn get(&self, page: u64) -> Option<Held> {
        self.held.get(&page).copied()
    }

    /// A run is mapped now.
    pub fn insert(&mut self, run: &Run) {
        for n in 0..run.count {
            self.held.insert(run.page + n, Held { ram: run.held.ram + n, ..run.held });
        }
        self.runs += 1;
    }

    /// Nothing is mapped any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The guest may have changed the mapping of the page of a linear address.
    pub fn suspect(&mut self, linear: u64) {
        if self.suspects.len() >= MOST_SUSPECTS {
            self.all_suspect = true;
        } else {
            self.suspects.push(linear / PAGE_SIZE);
        }
    }

    /// It may have changed all of them.
    pub fn suspect_all(&mut self) {
        self.all_suspect = true;
    }

    /// Pages of RAM have come under watch.
    pub fn forbid(&mut self, pages: &Pages) {
        match pages {
            Pages::Some(pages) if self.forbidden.len() + pages.len() <= MOST_SUSPECTS => {
                self.forbidden.extend(pages.iter().map(|&page| page as u64));
            }
            Pages::Some(pages) if pages.is_empty() => {}
            _ => self.all_forbidden = true,
        }
    }

    /// Must anything be looked at?
    pub fn is_settled(&self) -> bool {
        !self.all_suspect && !self.all_forbidden && self.suspects.is_empty() && self.forbidden.is_empty()
    }

    /// May the guest have changed mappings?
    pub fn is_suspect(&self) -> bool {
        self.all_suspect || !self.suspects.is_empty()
    }

    /// Looks at everything that must be, by what `now` says of a page, and gives the runs that are to be unmapped: they are
    /// not as they were.
    pub fn settle(&mut self, mut now: impl FnMut(u64) -> Option<Held>) -> Vec<(u64, u64)> {
        let mut changed: Vec<u64> = Vec::new();
        let mut check = |held: &FxHashMap<u64, Held>, page: u64| {
            if let Some(&was) = held.get(&page) {
                // What may be written now, but is mapped to be read, is found out when it is written.
                let same = now(page).is_some_and(|now| now.ram == was.ram && (now.write || !was.write));
                if !same {
                    changed.push(page);
                }
            }
        };
        if self.all_suspect || self.all_forbidden {
            let mut pages: Vec<u64> = self.held.keys().copied().collect();
            if !self.all_suspect {
                pages.retain(|page| self.held[page].write);
            }
            pages.into_iter().for_each(|page| check(&self.held, page));
        } else {
            std::mem::take(&mut self.suspects).into_iter().for_each(|page| check(&self.held, page));
            if !self.forbidden.is_empty() {
                self.forbidden.sort_unstable();
                let forbidden = std::mem::take(&mut self.forbidden);
                let hit = |held: &Held| held.write && forbidden.binary_search(&held.ram).is_ok();
                changed.extend(self.held.iter().filter(|(_, held)| hit(held)).map(|(&page, _)| page));
            }
        }
        self.suspects.clear();
        self.forbidden.clear();
        (self.all_suspect, self.all_forbidden) = (false, false);
        changed.sort_unstable();
        changed.dedup();
        for page in &changed {
            self.held.remove(page);
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for page in changed {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == page => *count += 1,
                _ => runs.push((page, 1)),
            }
        }
        runs
    }
}

/// Puts pages, ascending, together to runs.
pub(crate) fn runs(pages: impl Iterator<Item = (u64, Held)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (page, held) in pages {
        match runs.last_mut() {
            Some(run)
                if run.page + run.count == page
                    && run.held.ram + run.count == held.ram
                    && run.held.write == held.write =>
            {
                run.count += 1;
            }
            _ => runs.push(Run { page, count: 1, held }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ram: u64, write: bool) -> Held {
        Held { ram, write }
    }

    #[test]
    fn neighbours_in_both_places_with_the_same_rights_are_one_run() {
        let pages = [(1, held(8, true)), (2, held(9, true)), (3, held(10, false)), (4, held(12, false))];
        let want = [
            Run { page: 1, count: 2, held: held(8, true) },
            Run { page: 3, count: 1, held: held(10, false) },
            Run { page: 4, count: 1, held: held(12, false) },
        ];
        assert_eq!(runs(pages.into_iter()), want);
    }

    #[test]
    fn what_has_changed_is_unmapped_and_what_has_not_stays() {
        let mut mapped = Mapped::default();
        mapped.insert(&Run { page: 16, count: 8, held: held(100, true) });
        mapped.suspect(17 << 12);
        mapped.suspect(18 << 12);
        mapped.suspect(99 << 12);
        assert!(!mapped.is_settled());
        let now = |page: u64| Some(held(if page == 18 { 7 } else { 84 + page }, true));
        assert_eq!(mapped.settle(now), [(18, 1)]);
        assert!(mapped.is_settled() && mapped.get(18).is_none() && mapped.held.len() == 7);
        mapped.suspect_all();
        assert_eq!(mapped.settle(|page| now(page).filter(|_| page < 20)), [(20, 4)]);
        assert_eq!(mapped.held.len(), 3);
        mapped.suspect_all();
        let only_read = |page: u64| Some(held(84 + page, page != 17));
        assert_eq!(mapped.settle(only_read), [(17, 1)], "the right to write is gone");
    }

    #[test]
    fn a_page_of_ram_under_watch_is_not_written_through_any_alias() {
        let mut mapped = Mapped::default();
        mapped.insert(&Run { page: 1, count: 2, held: held(100, true) });
        mapped.insert(&Run { page: 50, count: 1, held: held(101, true) });
        mapped.insert(&Run { page: 60, count: 1, held: held(101, false) });
        mapped.forbid(&Pages::Some(vec![101]));
        assert_eq!(mapped.settle(|_| unreachable!()), [(2, 1), (50, 1)]);
        mapped.forbid(&Pages::All);
        assert_eq!(mapped.settle(|_| Some(held(100, false))), [(1, 1)]);
        assert_eq!(mapped.held.len(), 1);
        (0..2000).for_each(|page| mapped.suspect(page << 12));
        assert!(mapped.suspects.len() <= MOST_SUSPECTS && mapped.all_suspect);
    }
}
