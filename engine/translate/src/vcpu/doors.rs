//! Jumps into pages that the guest has not come to since its last flush.
//!
//! The jump cache of an address space is empty when a program begins, and after a flush; each jump that it does not know
//! costs a way through the dispatcher. But the code is translated already, for the program before had the same page, if elsewhere
//! perhaps; and a page is entered by few *doors*: functions that other pages call, and what comes behind calls of theirs. So with
//! the first jump into a page all of its doors are noted; and those of the pages around it, which a guest's kernel
//! maps together, where the guest's tables show that the same pages of RAM are there.

use base::PAGE_SIZE;
use interpret::Facts;

use super::Translated;
use crate::emit::block::Key;

/// Pages that are looked at together; Linux maps the pages of a file that it has around one that was asked for
/// (`fault_around_bytes`).
const WINDOW: u64 = 16;

impl Translated {
    /// A jump has led to RIP, where this block is.
    pub(super) fn note_jump(&mut self, facts: &Facts, number: usize) {
        let rip = self.tier.rip();
        let page = rip & !(PAGE_SIZE - 1);
        let global = self.tier.is_code_global(rip);
        let block = self.store.block(number);
        let (key, ram) = (block.key(), block.page());
        let host = self.store.cache.address(block.host);
        self.store.note_door(number);
        if !self.contexts.map().set_jump(rip, host, global) {
            return;
        }
        self.note_doors(page, ram, key, global);
        // Programs only: a kernel is linked across its pages. Nor where the page is global, since those around it need not be.
        if !facts.user || global {
            return;
        }
        let first = page & !(WINDOW * PAGE_SIZE - 1);
        for near in (0..WINDOW).map(|n| first + n * PAGE_SIZE) {
            if !self.contexts.map().has_jumps_to(near)
                && let Some(at) = self.tier.peek_code(near, true)
            {
                self.note_doors(near, at.page(), Key { at: key.at.map(|_| near), ..key }, false);
            }
        }
    }

    /// Notes the doors of a page of RAM that is at `page` for the guest.
    fn note_doors(&mut self, page: u64, ram: usize, key: Key, global: bool) {
        let map = self.contexts.map();
        for (offset, host) in self.store.doors(ram, key) {
            map.set_jump(page | offset, host, global);
        }
    }
}
