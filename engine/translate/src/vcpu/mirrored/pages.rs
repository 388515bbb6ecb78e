//! The pages of a mirror: mapped when they are missed, unmapped when they are not what they were.

use std::io;
use std::os::fd::AsRawFd;

use base::{Enlisted, GuestMemory, PAGE_SIZE};
use interpret::Mapped;

use super::super::Translated;
use crate::mirror::Mirror;
use crate::mirror::pages::{Held, runs};

/// Pages that are looked at around a missed one, in a row that starts at a multiple of this.
const AHEAD: u64 = 128;

impl Translated {
    /// Unmaps what is not as it was.
    pub(super) fn settle(&mut self, mirror: &mut Mirror) -> io::Result<()> {
        if mirror.pages.is_settled() {
            return Ok(());
        }
        let (tier, memory, enlisted) = (&mut self.tier, &self.memory, &self.enlisted);
        if mirror.pages.is_suspect() {
            mirror.check_code(|page| tier.code_at(page * PAGE_SIZE).map(|at| at.page() as u64));
        }
        let changed = mirror.pages.settle(|page| {
            let mapped = tier.peek(page * PAGE_SIZE).filter(|mapped| mapped.read)?;
            Some(held(memory, enlisted, &mapped, false))
        });
        if changed.is_empty() {
            return Ok(());
        }
        self.note_gone(changed.iter().map(|&(_, pages)| pages).sum());
        mirror.unmap(&changed)
    }

    /// Maps the page of an address that the instruction at RIP could not access, and those around it. False if the
    /// instruction is the reference CPU's.
    pub(super) fn map_around(&mut self, mirror: &mut Mirror, address: u64) -> io::Result<bool> {
        let page = address / PAGE_SIZE;
        let Some(write) = self.wants(page) else { return Ok(false) };
        if mirror.is_hole(page) {
            return Ok(false);
        }
        let Some(mapped) = self.tier.probe(address, write).page().filter(|mapped| mapped.read) else {
            return Ok(false);
        };
        let look = |mapped: Mapped, now: bool| held(&self.memory, &self.enlisted, &mapped, now);
        let wanted = look(mapped, write);
        if write && !wanted.write || mirror.pages.get(page) == Some(wanted) {
            return Ok(false);
        }
        let first = page / AHEAD * AHEAD;
        let mut found = Vec::with_capacity(AHEAD as usize);
        for near in first..first + AHEAD {
            if near == page {
                found.push((near, wanted));
            } else if mirror.pages.get(near).is_none()
                && !mirror.is_hole(near)
                && let Some(mapped) = self.tier.peek(near * PAGE_SIZE).filter(|mapped| mapped.read)
            {
                found.push((near, look(mapped, false)));
            }
        }
        self.counts.mirror_pages += found.len() as u64;
        mirror.map(&runs(found.into_iter()), self.memory.file().as_raw_fd())?;
        Ok(true)
    }

    /// Does the instruction at RIP write to this page? `None` if it does not access it at all.
    fn wants(&mut self, page: u64) -> Option<bool> {
        let decoded = self.instruction_here()?;
        let accesses = self.accesses(&decoded);
        let touches = |&&(linear, size, _): &&(u64, u64, bool)| {
            linear / PAGE_SIZE == page || linear.wrapping_add(size.max(1) - 1) / PAGE_SIZE == page
        };
        let mut found = accesses.iter().filter(touches).peekable();
        found.peek()?;
        Some(found.any(|&(.., write)| write))
    }
}

/// How a mirror may have a page: to be written where the guest and the watch allow it, `now` if that is about to happen.
fn held(memory: &GuestMemory, enlisted: &Enlisted, mapped: &Mapped, now: bool) -> Held {
    let ram = mapped.page.page();
    Held { ram: ram as u64, write: mapped.write && memory.watch().grant(enlisted, ram, now) }
}
