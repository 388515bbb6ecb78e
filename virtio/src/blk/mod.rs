//! A disk (5.2).
//!
//! Each request is read once and checked ([`request`]); what goes to the back-end is then known to lie on the disk and
//! in RAM. A request may have several parts (a discard of several ranges, or a write and the flush after it
//! where the driver has not agreed to flush by itself); the guest hears of it when all have come back.
//!
//! Where the back-end is full, the part that it did not take waits here, and no more chains are taken until it has.

mod config;
mod request;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use base::{Buffer, Record, RestoreError, Saved};
use serde::{Deserialize, Serialize};
use slab::Slab;

use crate::back::{Block, Completion, Facts, Failure, Op, Request};
use crate::chain::Chain;
use crate::device::{Device, DeviceId};
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress, Queue};
use crate::rings::Rings;
use request::{Plan, Status, Work};

/// Entries of a queue.
pub(crate) const QUEUE_SIZE: u16 = 256;

/// A disk's front.
pub struct Blk {
    back: Box<dyn Block>,
    facts: Facts,
    queues: u16,
    name: String,
    /// Requests under way. Their keys are the tags of their parts.
    under_way: Slab<Pending>,
    /// Parts that the back-end had no room for.
    waiting: VecDeque<Request>,
    /// For completions, kept to save allocations.
    completions: Vec<Completion>,
}

/// A request under way.
struct Pending {
    queue: u16,
    head: u16,
    status: Buffer,
    /// Bytes of data that the guest gets if all goes well.
    written: u32,
    /// Parts that have not come back.
    parts: u32,
    failure: Option<Failure>,
    /// A flush is to follow.
    flush: bool,
}

impl Blk {
    /// A disk with so many queues (1 to 64). `name` is what messages call it.
    pub fn new(back: Box<dyn Block>, queues: u16, name: impl Into<String>) -> Self {
        let facts = back.facts();
        Self {
            back,
            facts,
            queues: queues.clamp(1, 64),
            name: name.into(),
            under_way: Slab::new(),
            waiting: VecDeque::new(),
            completions: Vec::new(),
        }
    }

    fn take(&mut self, queue: &mut Queue, chain: Chain, through: bool) -> Result<Fate, Mistake> {
        if !self.waiting.is_empty() {
            return Ok(Fate::Full);
        }
        let plan = Plan::new(queue.number(), &chain, &self.facts)?;
        let Plan { work, status } = plan;
        let (parts, written) = match work {
            Work::Parts { parts, written } => (parts, written),
            Work::Done { status: how, written } => {
                status.write(0, &[how as u8]);
                queue.push(chain.head, written + 1)?;
                queue.signal()?;
                return Ok(Fate::Taken);
            }
        };
        let flush = through && parts.iter().any(|part| !matches!(part.op, Op::Read | Op::Flush));
        let pending = Pending {
            queue: queue.number(),
            head: chain.head,
            status,
            written,
            parts: parts.len() as u32,
            failure: None,
            flush,
        };
        let tag = self.under_way.insert(pending) as u64;
        for part in parts {
            self.submit(Request { tag, ..part });
        }
        Ok(Fate::Taken)
    }

    fn submit(&mut self, request: Request) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(request);
        } else if let Err(request) = self.back.submit(request) {
            self.waiting.push_back(request);
        }
    }

    /// Offers what waits once more.
    fn submit_waiting(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            if let Err(request) = self.back.submit(request) {
                self.waiting.push_front(request);
                return;
            }
        }
    }

    /// A part has come back. Gives the request if that was the last one.
    fn came_back(&mut self, completion: Completion) -> Option<Pending> {
        let key = completion.tag as usize;
        let pending = self.under_way.get_mut(key)?;
        pending.failure = pending.failure.or(completion.result.err());
        pending.parts -= 1;
        if pending.parts > 0 {
            return None;
        }
        if pending.flush && pending.failure.is_none() {
            (pending.flush, pending.parts) = (false, 1);
            let data = pending.status.slice(0, 0);
            self.submit(Request { tag: completion.tag, op: Op::Flush, sector: 0, sectors: 0, data });
            return None;
        }
        Some(self.under_way.remove(key))
    }
}

impl Pending {
    /// Tells the guest.
    fn end(&self, queue: &mut Queue) -> Result<(), Mistake> {
        let (status, written) = match self.failure {
            None => (Status::Ok, self.written),
            Some(Failure::Io) => (Status::IoError, 0),
            Some(Failure::Unsupported) => (Status::Unsupported, 0),
        };
        self.status.write(0, &[status as u8]);
        queue.push(self.head, written + 1)
    }
}

impl Device for Blk {
    fn id(&self) -> DeviceId {
        DeviceId::Block
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn features(&self) -> u64 {
        config::features(&self.facts, self.queues)
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; self.queues.into()]
    }

    fn config(&self) -> Vec<u8> {
        config::bytes(&self.facts, self.queues)
    }

    fn kick(&mut self, rings: &mut Rings, queue: u16) -> Result<Progress, Mistake> {
        let through = !rings.has(config::FLUSH);
        let result = rings.queue(queue).each(|queue, chain| self.take(queue, chain, through));
        self.back.start();
        result
    }

    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.back.wake()]
    }

    fn woken(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let mut completions = std::mem::take(&mut self.completions);
        if self.back.complete(&mut completions) {
            self.facts = self.back.facts();
            rings.config_changed();
        }
        let mut touched = 0u64;
        let mut result = Ok(());
        for completion in completions.drain(..) {
            if let Some(pending) = self.came_back(completion) {
                touched |= 1 << pending.queue;
                // Whatever becomes of one, the others have come back too.
                result = pending.end(rings.queue(pending.queue)).and(result);
            }
        }
        self.completions = completions;
        result?;
        for queue in (0..self.queues).filter(|queue| touched & 1 << queue != 0) {
            rings.queue(queue).signal()?;
        }
        let stalled = !self.waiting.is_empty();
        self.submit_waiting();
        self.back.start();
        Ok(if stalled && self.waiting.is_empty() { Progress::More } else { Progress::Done })
    }

    fn idle(&self) -> bool {
        self.under_way.is_empty()
    }

    fn reset(&mut self) {}

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}

/// A disk's front at rest: nothing is under way, so there is only what the disk must be again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkState {
    sectors: u64,
    read_only: bool,
    queues: u16,
}

impl Saved for Blk {
    type State = BlkState;
    const KIND: &'static str = "virtio-blk";
    const VERSION: u16 = 1;

    fn save(&self) -> BlkState {
        // What is under way is nothing, by contract; the name and the back-end are the host's.
        let Self { back: _, facts, queues, name: _, under_way: _, waiting: _, completions: _ } = self;
        BlkState { sectors: facts.sectors, read_only: facts.read_only, queues: *queues }
    }

    fn restore(&mut self, state: BlkState) -> Result<(), RestoreError> {
        let BlkState { sectors, read_only, queues } = state;
        let refuse = |reason: String| Err(RestoreError::Invalid { kind: Self::KIND, reason });
        if sectors != self.facts.sectors {
            return refuse(format!("{} has {} sectors, and had {sectors}", self.name, self.facts.sectors));
        }
        if (read_only, queues) != (self.facts.read_only, self.queues) {
            return refuse(format!("{} is attached in another way", self.name));
        }
        Ok(())
    }
}
