//! Sites that fault so often that asking before the access is cheaper than a host's signal: those where a program touches memory
//! for the first time, or a kernel clears and copies pages.
//!
//! A site becomes hasty by some faults in quick succession, and sober again after a time without any: what is used in a
//! computation should not pay for how its memory was set up.

use rustc_hash::FxHashMap;

/// Host ticks within which faults follow each other quickly: some milliseconds, as where one program after another begins. A signal
/// costs some microseconds, the comparison some nanoseconds.
const QUICK: u64 = 1 << 23;
/// Faults in quick succession that make a site hasty.
const PATIENCE: u8 = 4;
/// Host ticks without a fault after which a site is sober again: about a tenth of a second.
const COOL: u64 = 1 << 28;
/// The most sites remembered.
const MOST: usize = 1 << 14;

/// A place in code: RAM page and offset.
type Place = (usize, u16);

#[derive(Clone, Copy)]
struct Heat {
    quick: u8,
    last: u64,
}

/// How often sites have faulted of late.
#[derive(Default)]
pub(crate) struct Hasty {
    sites: FxHashMap<Place, Heat>,
    looked: u64,
}

impl Hasty {
    /// Is the site to ask before it accesses memory?
    pub fn is(&self, place: Place) -> bool {
        self.sites.get(&place).is_some_and(|heat| heat.quick >= PATIENCE)
    }

    /// A site has faulted, at this time of the host's counter. True if it has just become hasty.
    pub fn note(&mut self, place: Place, now: u64) -> bool {
        if self.sites.len() >= MOST && !self.sites.contains_key(&place) {
            // Whoever is hasty stays; the others start again.
            self.sites.retain(|_, heat| heat.quick >= PATIENCE);
            if self.sites.len() >= MOST {
                return false;
            }
        }
        let heat = self.sites.entry(place).or_insert(Heat { quick: 0, last: now });
        let before = heat.quick;
        if before < PATIENCE {
            let soon = now.wrapping_sub(heat.last) < QUICK;
            heat.quick = if soon { before + 1 } else { 1 };
        }
        heat.last = now;
        before < PATIENCE && heat.quick >= PATIENCE
    }

    /// Those that are sober again: to be translated anew. Looks now and then only.
    pub fn sober(&mut self, now: u64) -> Vec<Place> {
        if now.wrapping_sub(self.looked) < COOL {
            return Vec::new();
        }
        self.looked = now;
        let cold = |heat: &Heat| now.wrapping_sub(heat.last) >= COOL;
        let places = self.sites.iter().filter(|(_, heat)| heat.quick >= PATIENCE && cold(heat));
        let places = places.map(|(&place, _)| place).collect();
        self.sites.retain(|_, heat| !cold(heat));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_faults_make_hasty_and_time_makes_sober() {
        let mut hasty = Hasty::default();
        let place = (3, 0x120);
        let mut now = COOL;
        assert!(hasty.sober(now).is_empty());
        for _ in 0..20 {
            now += QUICK;
            assert!(!hasty.note(place, now), "now and then");
        }
        let became: Vec<bool> = (0..10).map(|n| hasty.note(place, now + n)).collect();
        assert_eq!(became.iter().filter(|&&became| became).count(), 1);
        assert!(hasty.is(place) && !hasty.is((3, 0x121)));
        assert!(hasty.sober(now + COOL / 2).is_empty());
        assert_eq!(hasty.sober(now + 2 * COOL), [place]);
        assert!(!hasty.is(place));
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut hasty = Hasty::default();
        for n in 0..4 * MOST {
            for _ in 0..=n % 2 * 5 {
                hasty.note((n, 0), 1);
            }
        }
        assert!(hasty.sites.len() <= MOST);
    }
}
