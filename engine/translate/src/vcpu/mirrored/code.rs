//! The code of a mirror: found, or translated.

use std::collections::VecDeque;

use base::PAGE_SIZE;
use interpret::Facts;

use super::super::{Around, Translated};
use crate::emit::block::Key;
use crate::mirror::Mirror;
use crate::store::Source;

/// The most links that are followed at a time to translate what they lead to.
const MOST_AHEAD: usize = 256;

impl Translated {
    /// Translates what the links of a new block lead to, and so on, and leads them there: a stop for each would cost more.
    pub(super) fn translate_ahead(&mut self, mirror: &mut Mirror, facts: &Facts, first: usize) {
        let mut new = VecDeque::from([first]);
        let mut budget = MOST_AHEAD;
        while let Some(number) = new.pop_front() {
            if let Some(next) = mirror.store.extra(number).returns.filter(|_| !mirror.store.is_nearly_full())
            {
                let before = mirror.store.translated;
                if let Some(block) = self.mirror_block(mirror, facts, next)
                    && mirror.store.translated != before
                {
                    mirror.set_jump(next, mirror.store.cache.address(mirror.store.block(block).host));
                    new.push_back(block);
                }
            }
            for (link, target) in mirror.store.open_links(number) {
                if budget == 0 || mirror.store.is_nearly_full() {
                    return;
                }
                budget -= 1;
                let before = mirror.store.translated;
                let Some(block) = self.mirror_block(mirror, facts, target) else { continue };
                mirror.store.join(link, block);
                if mirror.store.translated != before {
                    new.push_back(block);
                }
            }
        }
    }

    /// The block at a guest address.
    pub(super) fn mirror_block(&mut self, mirror: &mut Mirror, facts: &Facts, rip: u64) -> Option<usize> {
        let at = self.tier.code_at(rip)?;
        let page = rip & !(PAGE_SIZE - 1);
        mirror.execute(page / PAGE_SIZE, at.page() as u64);
        let key = Key { at: Some(page), direct: true, direction: false, ..self.key(facts, false) };
        let second = self.second_page(rip, at)?;
        if let Some(second) = second {
            mirror.execute(page / PAGE_SIZE + 1, second.page() as u64);
        }
        let source = Source { at, second, key };
        if let Some(number) = mirror.store.find(&source) {
            return Some(number);
        }
        if mirror.store.is_full() {
            mirror.store.clear();
            mirror.clear_jumps();
        }
        let around = Around {
            tier: &self.tier,
            sites: &self.sites,
            page: at.page(),
            fast_extract: self.fast_extract,
            arena: mirror.arena(),
        };
        mirror.store.translate(&self.memory, &self.enlisted, &source, &around)
    }
}
