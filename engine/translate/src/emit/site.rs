//! Sites that are translated otherwise than at first, because they kept missing.

use rustc_hash::FxHashMap;

use super::hasty::Hasty;

pub(crate) use super::operand::Site;

/// Misses after which a site is translated anew.
const PATIENCE: u8 = 4;
/// The most sites remembered; beyond that all are forgotten and learnt again.
const MOST: usize = 1 << 16;

/// What was learnt of sites, by RAM page and offset.
#[derive(Default)]
pub(crate) struct Sites {
    known: FxHashMap<(usize, u16), (u8, Site)>,
    /// Those that fault often.
    pub hasty: Hasty,
}

impl Sites {
    /// How a site is to be translated.
    pub fn get(&self, page: usize, offset: u16) -> Site {
        if self.hasty.is((page, offset)) {
            return Site::Checked;
        }
        match self.known.get(&(page, offset)) {
            Some(&(misses, site)) if misses >= PATIENCE => site,
            _ => Site::Aligned,
        }
    }

    /// A site missed and would do better as `site`. True if the block it missed in is to be translated anew.
    pub fn note(&mut self, page: usize, offset: u16, site: Site) -> bool {
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let (misses, best) = self.known.entry((page, offset)).or_insert((0, site));
        *misses = misses.saturating_add(1);
        *best = site.max(*best);
        // Not only when this is news: other blocks with the site may be as it was at first.
        *misses >= PATIENCE
    }
}
