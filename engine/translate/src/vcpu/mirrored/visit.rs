//! From one stop of a mirror to the next.

use std::io;

use interpret::Facts;

use super::super::Translated;
use super::Left;
use crate::frame::ExitKind;
use crate::mirror::policy::Weight;
use crate::mirror::tracee::{Pace, Stop};
use crate::mirror::{Mirror, Resume};

/// No sequence of ours is longer than so many instructions.
const LONGEST_SEQUENCE: usize = 64;

impl Translated {
    /// From one stop to the next.
    pub(super) fn visit(
        &mut self,
        mirror: &mut Mirror,
        facts: &Facts,
        visit: &mut Visit,
    ) -> io::Result<Option<Left>> {
        self.settle(mirror)?;
        let rip = self.tier.rip();
        let resume = mirror.resume.take().filter(|at| at.rip == rip && at.version == mirror.version());
        let host = match resume {
            Some(resume) => resume.host,
            None => {
                let before = mirror.store.translated;
                let Some(number) = self.mirror_block(mirror, facts, rip) else {
                    return Ok(Some(Left::Interpret));
                };
                if let Some((link, _)) =
                    visit.link.take().filter(|&(_, flushes)| flushes == mirror.store.flushes)
                {
                    mirror.store.join(link, number);
                }
                if mirror.store.translated != before {
                    self.translate_ahead(mirror, facts, number);
                }
                let block = mirror.store.block(number);
                let (entry, near) = (block.host, block.near());
                if std::mem::take(&mut self.mirrors.jumped) {
                    mirror.set_jump(rip, mirror.store.cache.address(entry));
                }
                mirror.store.cache.address(near)
            }
        };
        if !visit.loaded {
            if mirror.vectors.as_deref() != Some(self.tier.fpu()) {
                mirror.tracee.set_fpu(self.tier.fpu(), facts.avx)?;
            }
            visit.loaded = true;
        }
        mirror.tracee.set_registers(&self.registers_for(mirror, facts, host))?;
        let kick = mirror.tracee.kick();
        if !self.station.enter_mirror(kick, || self.attention.any()) {
            return Ok(Some(Left::Again));
        }
        let stop = mirror.tracee.run(Pace::Freely);
        let left = stop.and_then(|stop| self.stopped(mirror, facts, visit, stop));
        self.station.leave_mirror();
        left
    }

    /// Answers a stop.
    fn stopped(
        &mut self,
        mirror: &mut Mirror,
        facts: &Facts,
        visit: &mut Visit,
        mut stop: Stop,
    ) -> io::Result<Option<Left>> {
        self.counts.mirror_stops += 1;
        for _ in 0..LONGEST_SEQUENCE {
            let registers = mirror.tracee.registers()?;
            let at = if stop == Stop::Trap { registers.rip.wrapping_sub(1) } else { registers.rip };
            let Some(place) = place(mirror, at) else {
                return Err(io::Error::other(format!("stopped at {at:#x}, which is none of its code")));
            };
            let here = place.page + u64::from(place.offset);
            match (place.exit, stop) {
                (Some(exit), Stop::Trap | Stop::Kicked | Stop::Stepped) => {
                    let (rip, left) = self.exit(mirror, visit, &place, exit);
                    self.take_registers(mirror, facts, &registers, place.saved, rip);
                    return Ok(left);
                }
                (_, Stop::Fault { signal, address }) => {
                    self.take_registers(mirror, facts, &registers, place.saved, here);
                    let address = address.filter(|_| signal == libc::SIGSEGV);
                    let mapped = match address {
                        Some(address) => self.map_around(mirror, address)?,
                        None => false,
                    };
                    if !mapped {
                        self.faulted = address.map(|address| (self.tier.rip(), address));
                        self.note_stop(Weight::Full);
                        return Ok(Some(Left::Interpret));
                    }
                    self.note_stop(Weight::Page);
                    if let Some(start) = place.start {
                        self.resume_at(mirror, start);
                    }
                    return Ok(None);
                }
                (None, Stop::Kicked | Stop::Stepped) if place.start == Some(at) && place.saved == 0 => {
                    self.take_registers(mirror, facts, &registers, 0, here);
                    self.resume_at(mirror, at);
                    self.note_stop(Weight::Full);
                    return Ok(Some(Left::Again));
                }
                (None, Stop::Kicked | Stop::Stepped) => stop = mirror.tracee.run(Pace::Step)?,
                (_, Stop::SystemCall | Stop::Trap) => {
                    return Err(io::Error::other(format!("{stop:?} at {at:#x}, which is none of ours")));
                }
            }
        }
        Err(io::Error::other("a sequence without an end"))
    }

    /// Answers an INT3: where the guest goes on, and why not here.
    fn exit(
        &mut self,
        mirror: &Mirror,
        visit: &mut Visit,
        place: &Place,
        (kind, value): (ExitKind, u32),
    ) -> (u64, Option<Left>) {
        let here = place.page + u64::from(place.offset);
        let (rip, left) = match kind {
            ExitKind::Link => {
                visit.link = Some((value, mirror.store.flushes));
                (mirror.store.target(value), None)
            }
            ExitKind::Continue => (place.page + u64::from(value), None),
            _ => (here, Some(Left::Interpret)),
        };
        self.mirrors.jumped |= kind == ExitKind::Indirect;
        let learnt = left.is_none() || kind == ExitKind::Indirect;
        self.note_stop(if learnt { Weight::Link } else { Weight::Full });
        (rip, left)
    }

    /// Goes on at a host address next, if nothing changes until then.
    fn resume_at(&self, mirror: &mut Mirror, host: u64) {
        mirror.resume = Some(Resume { rip: self.tier.rip(), host, version: mirror.version() });
    }
}

/// What is kept from one stop to the next.
#[derive(Default)]
pub(super) struct Visit {
    /// The guest's vectors are in the mirror.
    pub loaded: bool,
    /// A link to be led to the block that is entered next, and the flushes of the cache at that time.
    link: Option<(u32, u64)>,
}

/// Where in the guest's code a host address is.
struct Place {
    /// The guest's page.
    page: u64,
    /// The offset of the instruction in it.
    offset: u16,
    /// The host address at which that begins, unless this is out of line.
    start: Option<u64>,
    /// The registers that are saved there.
    saved: u16,
    exit: Option<(ExitKind, u32)>,
}

fn place(mirror: &Mirror, host: u64) -> Option<Place> {
    let store = &mirror.store;
    let host = store.cache.offset(host)?;
    let number = store.at_host(host)?;
    let (block, extra) = (store.block(number), store.extra(number));
    let page = block.key().at?;
    if host < block.near() {
        // Where indirect branches come in: nothing of the guest's begins there.
        let start = store.cache.address(block.near());
        return Some(Place { page, offset: block.start, start: Some(start), saved: 0, exit: None });
    }
    let (offset, start) = store.site(number, host);
    let within = host - block.host;
    Some(Place {
        page,
        offset,
        start: Some(store.cache.address(start)).filter(|_| !extra.is_tail(within)),
        saved: extra.saved(within),
        exit: extra.exit(within),
    })
}
