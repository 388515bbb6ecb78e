//! User code in a mirror: the way in, the stops, the way out.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use base::PAGE_SIZE;
use interpret::{Facts, Flush};
use x86::flags::{DF, IF, RESERVED_ONE, RF, STATUS};

use super::{Around, Translated};
use crate::counter::ticks;
use crate::emit::block::{Goal, Key, LONGEST_INSTRUCTION};
use crate::emit::direct::COUNTER;
use crate::emit::system::Word;
use crate::frame::ExitKind;
use crate::mirror::alarm::Alarm;
use crate::mirror::pages::{Held, runs};
use crate::mirror::policy::{Account, Policy, Sample, Weight};
use crate::mirror::tracee::{Pace, Registers, Stop};
use crate::mirror::{Mirror, Modes, Resume};
use crate::station::Pages;
use crate::store::Source;

/// The most mirrors of a vCPU.
const MOST: usize = 4;
/// Pages that are looked at around a missed one, in a row that starts at a multiple of this.
const AHEAD: u64 = 128;
/// The most links that are followed at a time to translate what they lead to.
const MOST_AHEAD: usize = 256;
/// Host ticks without a call of the kernel after which a program goes into its mirror: some eighty microseconds.
const QUIET: u64 = 1 << 18;
/// After how long that is looked at.
const MOMENT: Duration = Duration::from_micros(100);
/// Ticks in a mirror after which a call of the kernel is an exception, and the program goes back at once.
const LONG: u64 = 1 << 19;
/// Ticks without any quiet after which nobody asks for it any more.
const NEVER: u64 = 1 << 26;
/// After how long a test is asked whether it comes to an end.
const TEST: Duration = Duration::from_millis(10);
/// No sequence of ours is longer than so many instructions.
const LONGEST_SEQUENCE: usize = 64;

/// The mirrors of a vCPU, the one used last first.
#[derive(Default)]
pub(super) struct Mirrors {
    list: Vec<Mirror>,
    policy: Policy,
    /// The address space whose user code runs in a mirror when it is quiet.
    active: Option<Active>,
    /// Makes code in the shadow map come back to us.
    alarm: Option<Alarm>,
    /// The host does not let us.
    refused: bool,
    /// An indirect branch was not known: where it has led is to be noted.
    jumped: bool,
    /// User code runs in mirrors always, for tests.
    pub always: bool,
}

/// An address space whose user code may run in a mirror.
#[derive(Clone, Copy, Debug)]
struct Active {
    root: u64,
    account: Account,
    /// When it was last seen to have asked its kernel for something, in host ticks.
    asked: u64,
    /// The SYSCALLs counted until then.
    calls: u64,
    /// It was in the mirror until then; when that was.
    left: u64,
    /// For how long, in host ticks.
    stretch: u64,
}

/// Why user code does not go on in a mirror.
pub(super) enum Left {
    /// Somebody wants attention, or the mirror is at its end: let the vCPU look again.
    Again,
    /// The instruction at RIP is the reference CPU's.
    Interpret,
}

impl Mirrors {
    /// None. `always` is for tests.
    pub fn new(always: bool) -> Self {
        Self { always, ..Self::default() }
    }

    /// Does user code of this address space run in a mirror?
    pub fn is_active(&self, root: u64) -> bool {
        self.always || self.active.is_some_and(|active| active.root == root)
    }

    /// Ends what asks for attention from another thread.
    pub fn silence(&mut self) {
        self.alarm = None;
    }

    /// Forgets what the guest flushed.
    pub fn flush(&mut self, flush: Flush) {
        for mirror in &mut self.list {
            match flush {
                Flush::Page(linear) => mirror.pages.suspect(linear),
                Flush::All | Flush::NotGlobal | Flush::Pcid(_) => mirror.pages.suspect_all(),
            }
        }
    }

    /// Pages of RAM have come under watch.
    pub fn forbid(&mut self, pages: &Pages) {
        self.list.iter_mut().for_each(|mirror| mirror.pages.forbid(pages));
    }

    /// The code of pages of RAM was written.
    pub fn drop_stale(&mut self, memory: &base::GuestMemory, pages: &Pages) {
        self.list.iter_mut().for_each(|mirror| mirror.store.drop_stale(memory, pages));
    }
}

impl Translated {
    /// User code was found running: is it time that it did so in a mirror?
    pub(super) fn consider_mirror(&mut self) {
        let root = self.tier.root();
        if self.mirrors.refused || self.mirrors.is_active(root) {
            return;
        }
        let calls = self.frame.frame().calls;
        let now = ticks();
        if self.mirrors.policy.look(Sample { root, now, events: self.tier.statistics().exceptions + calls }) {
            let account = Account::default();
            self.mirrors.active = Some(Active { root, account, asked: now, calls, left: now, stretch: 0 });
        }
    }

    /// User code of the active address space is about to run. True if it shall do so in its mirror: it has not asked its kernel for
    /// anything for a while, or had not until just now. Otherwise we are asked again in a moment.
    pub(super) fn is_quiet(&mut self) -> bool {
        let calls = self.frame.frame().calls;
        let (now, asked) = (ticks(), std::mem::take(&mut self.asked));
        if self.mirrors.always {
            self.mirrors.alarm.iter().for_each(|alarm| alarm.set(TEST));
            return true;
        }
        let Some(active) = &mut self.mirrors.active else { return false };
        if asked || active.calls != calls {
            (active.asked, active.calls) = (now, calls);
            if std::mem::take(&mut active.stretch) >= LONG {
                return true;
            }
        }
        if now.wrapping_sub(active.asked) >= QUIET {
            return true;
        }
        if now.wrapping_sub(active.left) >= NEVER {
            self.mirrors.active = None;
        } else if let Some(alarm) = &self.mirrors.alarm {
            alarm.set(MOMENT);
        }
        false
    }

    /// Runs user code in the mirror of its address space. The state is the tier's before and after.
    pub(super) fn run_mirror(&mut self, facts: &Facts) -> Left {
        let root = self.tier.root();
        let mut mirror = match self.take_mirror(root) {
            Ok(Some(mirror)) => mirror,
            Ok(None) => {
                self.give_up(root);
                return Left::Again;
            }
            Err(error) => {
                tracing::debug!(%error, "the host allows no mirror");
                assert!(!self.mirrors.always, "mirrors are under test: {error}");
                self.mirrors.refused = true;
                self.give_up(root);
                return Left::Again;
            }
        };
        self.store_x87();
        mirror.enter_modes(Modes {
            avx: facts.avx,
            bases: facts.bases,
            counter: self.key(facts, false).counter,
        });
        let began = ticks();
        match self.stay(&mut mirror, facts) {
            Ok(left) => {
                self.judge(&mirror, began);
                self.mirrors.list.insert(0, mirror);
                left
            }
            Err(error) => {
                // The program broke out, or the host takes something away. What it has done to its memory is done.
                tracing::debug!(%error, "a mirror ends");
                self.give_up(root);
                Left::Again
            }
        }
    }

    /// From the way in to the way out.
    fn stay(&mut self, mirror: &mut Mirror, facts: &Facts) -> io::Result<Left> {
        // The guest has returned to what got a page fault: the access will come again.
        let awaited = self.faulted.take().filter(|&(rip, _)| rip == self.tier.rip());
        if let Some((_, address)) = awaited {
            self.settle(mirror)?;
            self.map_around(mirror, address)?;
        }
        self.set_counter(mirror);
        let mut visit = Visit::default();
        let left = loop {
            if let Some(left) = self.visit(mirror, facts, &mut visit)? {
                break left;
            }
        };
        if visit.loaded {
            let vectors = mirror.vectors.get_or_insert_default();
            mirror.tracee.fpu(vectors)?;
            self.tier.fpu().clone_from(vectors);
        }
        Ok(left)
    }

    /// Gives the mirror what it takes to read the time-stamp counter.
    fn set_counter(&mut self, mirror: &mut Mirror) {
        let seen = self.tier.seen();
        let frame = self.frame.frame();
        if let Some(counter) = &mut self.counter
            && counter.update(frame, seen.tsc_adjust, || self.tier.tsc())
        {
            self.forget_jumps();
            mirror.clear_jumps();
        }
        let frame = self.frame.frame();
        for (word, value) in [
            (Word::Aux, seen.tsc_aux),
            (Word::MinusFrom, frame.tsc_minus_from),
            (Word::Scale, frame.tsc_scale),
            (Word::At, frame.tsc_at),
        ] {
            mirror.set_word(usize::from(COUNTER) + word as usize, value);
        }
    }

    fn judge(&mut self, mirror: &Mirror, began: u64) {
        let (now, Mirrors { policy, active, .. }) = (ticks(), &mut self.mirrors);
        let Some(account) = active else { return };
        (account.left, account.stretch) = (now, account.stretch + now.wrapping_sub(began));
        if !policy.judge(account.root, &mut account.account, now, || mirror.tracee.busy()) {
            *active = None;
            self.counts.mirrors_left += 1;
        }
    }

    /// Stops count.
    fn note_stop(&mut self, weight: Weight) {
        if let Some(active) = &mut self.mirrors.active {
            active.account.weight += weight as u64;
        }
    }

    fn give_up(&mut self, root: u64) {
        self.mirrors.policy.reject(root, ticks());
        self.mirrors.active = None;
    }

    /// The mirror of an address space, out of the list, or a new one.
    fn take_mirror(&mut self, root: u64) -> io::Result<Option<Mirror>> {
        let list = &mut self.mirrors.list;
        if let Some(at) = list.iter().position(|mirror| mirror.root == root) {
            let mirror = list.remove(at);
            if mirror.tracee.is_ours() && mirror.has_its_hole(&self.memory) {
                if let Some(active) = self.mirrors.active.as_mut().filter(|active| active.account.weight == 0) {
                    active.account.busy = mirror.tracee.busy();
                }
                return Ok(Some(mirror));
            }
        }
        list.truncate(MOST - 1);
        self.counts.mirrors_made += 1;
        if self.mirrors.alarm.is_none() {
            let station = Arc::clone(&self.station);
            self.mirrors.alarm = Some(Alarm::new(move || station.alarm())?);
        }
        Mirror::new(&self.memory, root, self.tier.rip())
    }

    /// From one stop to the next.
    fn visit(&mut self, mirror: &mut Mirror, facts: &Facts, visit: &mut Visit) -> io::Result<Option<Left>> {
        self.settle(mirror)?;
        let rip = self.tier.rip();
        let resume = mirror.resume.take().filter(|at| at.rip == rip && at.version == mirror.version());
        let host = match resume {
            Some(resume) => resume.host,
            None => {
                let before = mirror.store.translated;
                let Some(number) = self.mirror_block(mirror, facts, rip) else { return Ok(Some(Left::Interpret)) };
                if let Some((link, _)) = visit.link.take().filter(|&(_, flushes)| flushes == mirror.store.flushes) {
                    match mirror.store.goal(link).0 {
                        Goal::Within(_) => mirror.store.connect(link, number),
                        Goal::Across { .. } => mirror.store.connect_across(link, number),
                    }
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
            let exit = place.exit.filter(|_| matches!(stop, Stop::Trap | Stop::Kicked | Stop::Stepped));
            match (exit, stop) {
                (Some((kind, value)), _) => return Ok(self.exit(mirror, facts, visit, &registers, place, kind, value)),
                (None, Stop::Fault { signal, address }) => {
                    self.take_registers(mirror, facts, &registers, place.saved, place.page + u64::from(place.offset));
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
                    self.take_registers(mirror, facts, &registers, 0, place.page + u64::from(place.offset));
                    self.resume_at(mirror, at);
                    self.note_stop(Weight::Full);
                    return Ok(Some(Left::Again));
                }
                (None, Stop::Kicked | Stop::Stepped) => stop = mirror.tracee.run(Pace::Step)?,
                (None, Stop::SystemCall | Stop::Trap) => {
                    return Err(io::Error::other(format!("{stop:?} at {at:#x}, which is none of ours")));
                }
            }
        }
        Err(io::Error::other("a sequence without an end"))
    }

    /// Answers an INT3.
    #[allow(clippy::too_many_arguments)]
    fn exit(
        &mut self,
        mirror: &mut Mirror,
        facts: &Facts,
        visit: &mut Visit,
        registers: &Registers,
        place: Place,
        kind: ExitKind,
        value: u32,
    ) -> Option<Left> {
        let here = place.page + u64::from(place.offset);
        let (rip, left) = match kind {
            ExitKind::Link => {
                visit.link = Some((value, mirror.store.flushes));
                let target = match mirror.store.goal(value).0 {
                    Goal::Within(offset) => place.page + u64::from(offset),
                    Goal::Across { target, .. } => target,
                };
                (target, None)
            }
            ExitKind::Continue => (place.page + u64::from(value), None),
            ExitKind::Indirect => {
                self.mirrors.jumped = true;
                (here, Some(Left::Interpret))
            }
            _ => (here, Some(Left::Interpret)),
        };
        let learnt = left.is_none() || kind == ExitKind::Indirect;
        let weight = if learnt { Weight::Link } else { Weight::Full };
        self.note_stop(weight);
        self.take_registers(mirror, facts, registers, place.saved, rip);
        left
    }

    /// Goes on at a host address next, if nothing changes until then.
    fn resume_at(&self, mirror: &mut Mirror, host: u64) {
        mirror.resume = Some(Resume { rip: self.tier.rip(), host, version: mirror.version() });
    }

    /// Translates what the links of a new block lead to, and so on, and leads them there: a stop for each would cost more.
    fn translate_ahead(&mut self, mirror: &mut Mirror, facts: &Facts, first: usize) {
        let mut new = VecDeque::from([first]);
        let mut budget = MOST_AHEAD;
        while let Some(number) = new.pop_front() {
            if let Some(next) = mirror.store.extra(number).returns.filter(|_| !mirror.store.is_nearly_full()) {
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
                match mirror.store.goal(link).0 {
                    Goal::Within(_) => mirror.store.connect(link, block),
                    Goal::Across { .. } => mirror.store.connect_across(link, block),
                }
                if mirror.store.translated != before {
                    new.push_back(block);
                }
            }
        }
    }

    /// The block at a guest address.
    fn mirror_block(&mut self, mirror: &mut Mirror, facts: &Facts, rip: u64) -> Option<usize> {
        let at = self.tier.code_at(rip)?;
        let page = rip & !(PAGE_SIZE - 1);
        mirror.execute(page / PAGE_SIZE, at.page() as u64);
        let key = Key { at: Some(page), direct: true, ..self.key(facts, false) };
        let key = Key { direction: false, ..key };
        let left = PAGE_SIZE - rip % PAGE_SIZE;
        let mut second = None;
        if left < LONGEST_INSTRUCTION as u64 && self.runs_on(at, left) {
            let next = self.tier.code_at(rip.wrapping_add(left))?;
            mirror.execute(page / PAGE_SIZE + 1, next.page() as u64);
            second = Some(next);
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

    /// Unmaps what is not as it was.
    fn settle(&mut self, mirror: &mut Mirror) -> io::Result<()> {
        if mirror.pages.is_settled() {
            return Ok(());
        }
        let (tier, memory, enlisted) = (&mut self.tier, &self.memory, &self.enlisted);
        if mirror.pages.is_suspect() {
            mirror.check_code(|page| tier.code_at(page * PAGE_SIZE).map(|at| at.page() as u64));
        }
        let changed = mirror.pages.settle(|page| {
            let mapped = tier.peek(page * PAGE_SIZE).filter(|mapped| mapped.read)?;
            let ram = mapped.page.page();
            Some(Held { ram: ram as u64, write: mapped.write && memory.watch().grant(enlisted, ram, false) })
        });
        if changed.is_empty() { Ok(()) } else { mirror.unmap(&changed) }
    }

    /// Maps the page of an address that the instruction at RIP could not access, and those around it. False if the
    /// instruction is the reference CPU's.
    fn map_around(&mut self, mirror: &mut Mirror, address: u64) -> io::Result<bool> {
        let page = address / PAGE_SIZE;
        let Some(write) = self.wants(page) else { return Ok(false) };
        if mirror.is_hole(page) {
            return Ok(false);
        }
        let Some(mapped) = self.tier.probe(address, write).filter(|mapped| mapped.read) else {
            return Ok(false);
        };
        let look = |mapped: interpret::Mapped, now: bool| {
            let ram = mapped.page.page();
            let granted = mapped.write && self.memory.watch().grant(&self.enlisted, ram, now);
            Held { ram: ram as u64, write: granted }
        };
        let held = look(mapped, write);
        if write && !held.write || mirror.pages.get(page) == Some(held) {
            return Ok(false);
        }
        let first = page / AHEAD * AHEAD;
        let mut found = Vec::with_capacity(AHEAD as usize);
        for near in first..first + AHEAD {
            if near == page {
                found.push((near, held));
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
        let instruction = self.instruction_here()?.instruction;
        let accesses = self.accesses(&instruction);
        let touches = |&&(linear, size, _): &&(u64, u64, bool)| {
            linear / PAGE_SIZE == page || linear.wrapping_add(size.max(1) - 1) / PAGE_SIZE == page
        };
        let mut found = accesses.iter().filter(touches).peekable();
        found.peek()?;
        Some(found.any(|&(.., write)| write))
    }

    /// The registers with which the mirror goes on at a host address.
    fn registers_for(&self, mirror: &Mirror, facts: &Facts, host: u64) -> Registers {
        let guest = self.tier.registers();
        let flags = self.tier.status() | self.tier.system_flags() & DF | IF | RESERVED_ONE;
        Registers {
            rax: guest[0],
            rcx: guest[1],
            rdx: guest[2],
            rbx: guest[3],
            rsp: guest[4],
            rbp: guest[5],
            rsi: guest[6],
            rdi: guest[7],
            r8: guest[8],
            r9: guest[9],
            r10: guest[10],
            r11: guest[11],
            r12: guest[12],
            r13: guest[13],
            r14: guest[14],
            r15: guest[15],
            rip: host,
            eflags: flags,
            fs_base: facts.fs_base,
            gs_base: mirror.gs(),
            orig_rax: u64::MAX,
            ..mirror.tracee.first()
        }
    }

    /// Takes the guest's registers from a stopped mirror, some of them from where they were saved.
    fn take_registers(&mut self, mirror: &Mirror, facts: &Facts, from: &Registers, saved: u16, rip: u64) {
        let mut guest = [
            from.rax, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi, from.r8, from.r9,
            from.r10, from.r11, from.r12, from.r13, from.r14, from.r15,
        ];
        for (n, value) in guest.iter_mut().enumerate() {
            if saved >> n & 1 != 0 {
                *value = mirror.saved(n);
            }
        }
        self.tier.set_registers(&guest);
        self.tier.set_status(from.eflags & STATUS);
        self.tier.set_system_flags(self.tier.system_flags() & !(DF | RF) | from.eflags & DF);
        if facts.bases && from.fs_base != facts.fs_base {
            self.tier.set_bases(from.fs_base, facts.gs_base, self.tier.seen().kernel_gs_base);
        }
        self.tier.set_rip(rip);
    }
}

/// What is kept from one stop to the next.
#[derive(Default)]
struct Visit {
    /// The guest's vectors are in the mirror.
    loaded: bool,
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
