//! A queue in use: a split ring (2.7) in guest memory, by the `virtio-queue` crate, and around it what a guest must
//! not be able to do: chains are checked whole, never more of them are out than the ring has entries, and a
//! batch is bounded, so that a driver that never stops does not keep the device from a reset.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{GuestMemory, GuestPhys};
use serde::{Deserialize, Serialize};
use virtio_queue::{Queue as Ring, QueueOwnedT, QueueT};

use crate::chain::{self, Chain};
use crate::interrupt::Interrupt;
use crate::mistake::Mistake;

/// A queue as the driver has set it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Entries.
    pub size: u16,
    /// Does the driver use it?
    pub enabled: bool,
    /// The descriptor table.
    pub descriptors: u64,
    /// The available ring, which the driver writes.
    pub available: u64,
    /// The used ring, which the device writes.
    pub used: u64,
}

impl QueueConfig {
    /// Can it be? The rings may overlap: that harms the driver alone.
    fn fits(&self, memory: &GuestMemory, most: u16) -> bool {
        let size = u64::from(self.size);
        let rings = [
            (self.descriptors, 16, 16 * size),
            (self.available, 2, 6 + 2 * size),
            (self.used, 4, 6 + 8 * size),
        ];
        let there = |(at, alignment, len): (u64, u64, u64)| {
            at.is_multiple_of(alignment) && memory.range(GuestPhys(at), len).is_ok()
        };
        self.size.is_power_of_two() && self.size <= most && rings.into_iter().all(there)
    }
}

/// How far a queue in use has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// The index of the next available entry.
    pub next_available: u16,
    /// The index of the next used entry.
    pub next_used: u16,
    /// Chains that the device still has.
    pub out: u16,
}

/// What a front did with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has it, or has pushed it.
    Taken,
    /// It cannot take it now: it stays available, and the front comes back to the queue by itself.
    Full,
}

/// Is there more to do?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not until the next kick.
    Done,
    /// Yes, after others had their turn.
    More,
}

/// A queue.
pub struct Queue {
    ring: Ring,
    number: u16,
    /// Chains popped and not yet pushed.
    out: u16,
    indirect: bool,
    memory: Arc<GuestMemory>,
    interrupt: Arc<dyn Interrupt>,
}

impl Queue {
    /// A queue as the driver wants it; with at most `most` entries.
    ///
    /// # Errors
    /// [`Mistake::Rings`] if it cannot be.
    pub fn new(
        number: u16,
        config: &QueueConfig,
        most: u16,
        (indirect, event_idx): (bool, bool),
        memory: &Arc<GuestMemory>,
        interrupt: &Arc<dyn Interrupt>,
    ) -> Result<Self, Mistake> {
        let mistake = Mistake::Rings(number);
        if config.enabled && !config.fits(memory, most) {
            return Err(mistake);
        }
        let size = if config.enabled { config.size } else { most };
        let state = virtio_queue::QueueState {
            max_size: most,
            next_avail: 0,
            next_used: 0,
            event_idx_enabled: event_idx,
            size,
            ready: config.enabled,
            desc_table: config.descriptors & !15,
            avail_ring: config.available & !1,
            used_ring: config.used & !3,
        };
        let ring = Ring::try_from(state).map_err(|_| mistake)?;
        Ok(Self { ring, number, out: 0, indirect, memory: memory.clone(), interrupt: interrupt.clone() })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Entries.
    pub fn size(&self) -> u16 {
        self.ring.size()
    }

    /// Does the driver use it?
    pub fn enabled(&self) -> bool {
        self.ring.ready()
    }

    /// The memory it is in.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Takes the next chain, if there is one.
    ///
    /// # Errors
    /// The driver's mistake.
    pub fn pop(&mut self) -> Result<Option<Chain>, Mistake> {
        if !self.enabled() {
            return Ok(None);
        }
        let mut available =
            self.ring.iter(self.memory.view()).map_err(|_| Mistake::AvailIndex(self.number))?;
        let Some(head) = available.next().map(|chain| chain.head_index()) else { return Ok(None) };
        if self.out >= self.ring.size() {
            return Err(Mistake::TooMany(self.number));
        }
        let (table, size) = (self.ring.desc_table(), self.ring.size());
        let chain = chain::read(&self.memory, self.number, table, size, head, self.indirect)?;
        self.out += 1;
        Ok(Some(chain))
    }

    /// Gives back the chain that was popped last: it is available again.
    pub fn undo_pop(&mut self) {
        self.ring.go_to_previous_position();
        self.out -= 1;
    }

    /// Gives a chain back to the driver, of whose writable part the first `written` bytes were written.
    /// [`Queue::signal`] tells the driver.
    ///
    /// # Errors
    /// [`Mistake::Rings`] where the ring cannot be written: it was in RAM when the queue was made.
    pub fn push(&mut self, head: u16, written: u32) -> Result<(), Mistake> {
        self.out = self.out.saturating_sub(1);
        self.ring.add_used(self.memory.view(), head, written).map_err(|_| Mistake::Rings(self.number))
    }

    /// Interrupts the driver, if it wants to hear of what was pushed since the last time.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub fn signal(&mut self) -> Result<(), Mistake> {
        let wanted = self.ring.needs_notification(self.memory.view());
        if wanted.map_err(|_| Mistake::Rings(self.number))? && !self.hushed() {
            self.interrupt.queue(self.number);
        }
        Ok(())
    }

    /// Does the driver say that it wants no interrupts? Only a hint, where `RING_EVENT_IDX` is not agreed on.
    fn hushed(&self) -> bool {
        const NO_INTERRUPT: u16 = 1;
        let flags =
            || self.memory.ram(GuestPhys(self.ring.avail_ring())).map(|at| self.memory.load::<u16>(at));
        !self.ring.event_idx_enabled() && flags().is_some_and(|flags| flags & NO_INTERRUPT != 0)
    }

    /// Gives each available chain to `take`, at most as many as the queue has entries; then listens for kicks.
    ///
    /// # Errors
    /// The driver's mistake.
    pub fn each(
        &mut self,
        mut take: impl FnMut(&mut Self, Chain) -> Result<Fate, Mistake>,
    ) -> Result<Progress, Mistake> {
        if !self.enabled() {
            return Ok(Progress::Done);
        }
        let broken = |_| Mistake::Rings(self.number);
        self.ring.disable_notification(self.memory.view()).map_err(broken)?;
        for _ in 0..self.size() {
            match self.pop()? {
                Some(chain) => {
                    if take(self, chain)? == Fate::Full {
                        self.undo_pop();
                        return Ok(Progress::Done);
                    }
                }
                None if self.listen()? => {}
                None => return Ok(Progress::Done),
            }
        }
        Ok(Progress::More)
    }

    /// Asks the driver for kicks. True if there are chains already.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub fn listen(&mut self) -> Result<bool, Mistake> {
        self.ring.enable_notification(self.memory.view()).map_err(|_| Mistake::Rings(self.number))
    }

    /// Is anything available?
    pub fn is_empty(&self) -> bool {
        let index = self.ring.avail_idx(self.memory.view(), Ordering::Acquire);
        !self.enabled() || index.is_ok_and(|index| index.0 == self.ring.next_avail())
    }

    /// How far it has come.
    pub fn state(&self) -> QueueState {
        QueueState { next_available: self.ring.next_avail(), next_used: self.ring.next_used(), out: self.out }
    }

    /// Goes on where another left off.
    pub fn resume(&mut self, state: &QueueState) {
        let QueueState { next_available, next_used, out } = *state;
        self.ring.set_next_avail(next_available);
        self.ring.set_next_used(next_used);
        self.out = out.min(self.size());
    }
}
