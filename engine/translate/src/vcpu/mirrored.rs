//! User code in a mirror: when it goes in, the way in, the way out.

mod code;
mod pages;
mod registers;
mod visit;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use interpret::{Facts, Flush};

use self::visit::Visit;
use super::Translated;
use crate::Mirrored;
use crate::counter::ticks;
use crate::emit::direct::COUNTER;
use crate::emit::system::Word;
use crate::mirror::alarm::Alarm;
use crate::mirror::policy::{Account, PAGES_GONE, Policy, Sample, Weight};
use crate::mirror::{Mirror, Modes};
use crate::station::Pages;

/// The most mirrors of a vCPU.
const MOST: usize = 4;
/// Host ticks without a call of the kernel after which a program goes into its mirror: some eighty microseconds.
const QUIET: u64 = 1 << 18;
/// After how long that is looked at.
const MOMENT: Duration = Duration::from_micros(100);
/// Ticks in a mirror after which a call of the kernel is an exception, and the program goes back at once.
const LONG: u64 = 1 << 19;
/// Calls of the kernel that ended a time in a mirror, after which it is asked how long those times were: less than [`LONG`] on
/// average, and the way there and back was not worth it.
const STAYS: u64 = 16;
/// Ticks without any quiet after which nobody asks for it any more.
const NEVER: u64 = 1 << 26;
/// After how long a test is asked whether it comes to an end.
const TEST: Duration = Duration::from_millis(10);

/// The mirrors of a vCPU, the one used last first.
#[derive(Default)]
pub(super) struct Mirrors {
    list: Vec<Mirror>,
    policy: Policy,
    /// The address spaces whose user code runs in a mirror when it is quiet.
    active: Vec<Active>,
    /// Makes code in the shadow map come back to us.
    alarm: Option<Alarm>,
    /// The host does not let us.
    refused: bool,
    /// An indirect branch was not known: where it has led is to be noted.
    jumped: bool,
    /// User code runs in mirrors always, for tests.
    pub always: bool,
    /// See [`Mirrored::far`].
    far: bool,
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
    /// For how long since the last call, in host ticks.
    stretch: u64,
    /// The calls that ended such a time, and for how long it was there before each of them in all.
    stays: u64,
    /// See above.
    stayed: u64,
}

/// Why user code does not go on in a mirror.
pub(super) enum Left {
    /// Somebody wants attention, or the mirror is at its end: let the vCPU look again.
    Again,
    /// The instruction at RIP is the reference CPU's.
    Interpret,
}

impl Mirrors {
    /// None. With `test`, there will be one for all user code.
    pub fn new(test: Option<Mirrored>) -> Self {
        Self { always: test.is_some(), far: test.is_some_and(|test| test.far), ..Self::default() }
    }

    /// Does user code of this address space run in a mirror?
    pub fn is_active(&self, root: u64) -> bool {
        self.always || self.active.iter().any(|active| active.root == root)
    }

    fn active(&mut self, root: u64) -> Option<&mut Active> {
        self.active.iter_mut().find(|active| active.root == root)
    }

    fn end(&mut self, root: u64) {
        self.active.retain(|active| active.root != root);
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
            let active =
                Active { root, account, asked: now, calls, left: now, stretch: 0, stays: 0, stayed: 0 };
            self.mirrors.active.insert(0, active);
            self.mirrors.active.truncate(MOST);
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
        let root = self.tier.root();
        let Some(active) = self.mirrors.active(root) else { return false };
        if asked || active.calls != calls {
            (active.asked, active.calls) = (now, calls);
            let stretch = std::mem::take(&mut active.stretch);
            active.stays += u64::from(stretch > 0);
            active.stayed += stretch;
            if active.stays >= STAYS {
                if active.stayed / active.stays < LONG {
                    self.counts.mirrors_left += 1;
                    self.give_up(root);
                    return false;
                }
                (active.stays, active.stayed) = (0, 0);
            }
            if stretch >= LONG {
                return true;
            }
        }
        if now.wrapping_sub(active.asked) >= QUIET {
            return true;
        }
        if now.wrapping_sub(active.left) >= NEVER {
            self.mirrors.end(root);
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
        let (now, root) = (ticks(), mirror.root);
        let Mirrors { policy, active, .. } = &mut self.mirrors;
        let Some(active) = active.iter_mut().find(|active| active.root == root) else { return };
        (active.left, active.stretch) = (now, active.stretch + now.wrapping_sub(began));
        if !policy.judge(root, &mut active.account, now, || mirror.tracee.busy()) {
            self.mirrors.end(root);
            self.counts.mirrors_left += 1;
        }
    }

    /// Stops count.
    fn note_stop(&mut self, weight: Weight) {
        let root = self.tier.root();
        if let Some(active) = self.mirrors.active(root) {
            active.account.weight += weight as u64;
        }
    }

    /// Pages that were mapped are gone: what it took to map them was in vain.
    fn note_gone(&mut self, pages: u64) {
        let root = self.tier.root();
        if let Some(active) = self.mirrors.active(root) {
            active.account.weight += pages / PAGES_GONE;
        }
    }

    fn give_up(&mut self, root: u64) {
        self.mirrors.policy.reject(root, ticks());
        self.mirrors.end(root);
    }

    /// The mirror of an address space, out of the list, or a new one.
    fn take_mirror(&mut self, root: u64) -> io::Result<Option<Mirror>> {
        let list = &mut self.mirrors.list;
        if let Some(at) = list.iter().position(|mirror| mirror.root == root) {
            let mirror = list.remove(at);
            if mirror.tracee.is_ours() && mirror.has_its_hole(&self.memory) {
                if let Some(active) = self.mirrors.active(root).filter(|active| active.account.weight == 0) {
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
        let began = std::time::Instant::now();
        let mirror = Mirror::new(&self.memory, root, self.tier.rip(), self.mirrors.far);
        self.counts.mirrors_making += began.elapsed().as_micros() as u64;
        mirror
    }
}
