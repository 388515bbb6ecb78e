//! A balloon (5.5): memory that the guest gives back to the host, and takes again.
//!
//! The host sets how much it wants back; the guest's driver picks pages and names them, and their memory goes to the
//! host at once. A page that is touched later comes back as zeroes, so nothing has to be done when the balloon
//! shrinks. *Free page reporting* does the same for pages that the guest happens not to use.
//!
//! Which pages is the guest's business: whatever it names, it harms itself alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base::{Bell, Buffer, GuestMemory, GuestPhys, PAGE_SIZE, Piece, Record, RestoreError, Saved};
use serde::{Deserialize, Serialize};

use crate::device::{Device, DeviceId};
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress, Queue};
use crate::rings::Rings;

const STATISTICS: u64 = 1 << 1;
const DEFLATE_ON_OOM: u64 = 1 << 2;
const REPORTING: u64 = 1 << 5;

const QUEUE_SIZE: u16 = 128;
const INFLATE: u16 = 0;
const DEFLATE: u16 = 1;
/// The first of the queues that exist only where their features are agreed on. Drivers count those that do.
const FIRST_OPTIONAL: u16 = 2;
/// Where in the configuration the guest says how much it has given.
const ACTUAL: usize = 4;
/// Pages that one chain can name.
const MOST_PAGES: u64 = 4096;
/// Statistics that one chain can hold.
const MOST_STATISTICS: u64 = 64;
const STATISTIC: u64 = 10;

/// What the guest says of its memory, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics(Vec<(u16, u64)>);

impl Statistics {
    /// One by its number (5.5.6.3): 4 is the memory that is free, 5 all there is, 6 what could be had without
    /// swapping; in bytes.
    pub fn get(&self, number: u16) -> Option<u64> {
        self.0.iter().find(|(tag, _)| *tag == number).map(|(_, value)| *value)
    }
}

#[derive(Debug)]
struct Shared {
    /// In pages.
    target: AtomicU32,
    actual: AtomicU32,
    /// The guest is to be asked anew.
    wanted: AtomicBool,
    statistics: Mutex<Statistics>,
    bell: Bell,
}

/// The host's hand on a balloon. Clones are of the same balloon.
#[derive(Clone, Debug)]
pub struct BalloonHandle(Arc<Shared>);

impl BalloonHandle {
    /// Asks the guest for so many bytes, in all: to the next page below.
    pub fn set_target(&self, bytes: u64) {
        let pages = u32::try_from(bytes / PAGE_SIZE).unwrap_or(u32::MAX);
        self.0.target.store(pages, Ordering::SeqCst);
        self.0.bell.ring();
    }

    /// The bytes that the guest says it has given.
    pub fn actual(&self) -> u64 {
        u64::from(self.0.actual.load(Ordering::SeqCst)) * PAGE_SIZE
    }

    /// Asks the guest for new statistics; they come by and by.
    pub fn refresh(&self) {
        self.0.wanted.store(true, Ordering::SeqCst);
        self.0.bell.ring();
    }

    /// The last statistics.
    pub fn statistics(&self) -> Statistics {
        self.0.statistics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The front. What stands behind it is whoever has the [`BalloonHandle`].
#[derive(Debug)]
pub struct Balloon {
    shared: Arc<Shared>,
    /// The target that the guest has been told.
    told: u32,
    /// The chain that the guest gets back when new statistics are wanted.
    kept: Option<u16>,
}

impl Balloon {
    /// An empty one.
    ///
    /// # Errors
    /// Where the host has no descriptor left.
    pub fn new() -> io::Result<(Self, BalloonHandle)> {
        let shared = Arc::new(Shared {
            target: AtomicU32::new(0),
            actual: AtomicU32::new(0),
            wanted: AtomicBool::new(false),
            statistics: Mutex::default(),
            bell: Bell::new()?,
        });
        Ok((Self { shared: Arc::clone(&shared), told: 0, kept: None }, BalloonHandle(shared)))
    }

    fn optional_queue(rings: &Rings, feature: u64) -> Option<u16> {
        let before = u16::from(feature == REPORTING && rings.has(STATISTICS));
        rings.has(feature).then_some(FIRST_OPTIONAL + before)
    }

    /// The guest sends statistics. Their chain is kept until there is a use for new ones.
    fn hear(&mut self, queue: &mut Queue) -> Result<Progress, Mistake> {
        let Self { shared, kept, .. } = self;
        let progress = queue.each(|queue, chain| {
            if let Some(before) = kept.replace(chain.head) {
                queue.push(before, 0)?;
            }
            let statistics = parse(&chain.readable);
            *shared.statistics.lock().unwrap_or_else(PoisonError::into_inner) = statistics;
            Ok(Fate::Taken)
        })?;
        queue.signal()?;
        Ok(progress)
    }

    /// Does what the host wants.
    fn obey(&mut self, rings: &mut Rings) -> Result<(), Mistake> {
        let target = self.shared.target.load(Ordering::SeqCst);
        if std::mem::replace(&mut self.told, target) != target {
            rings.config_changed();
        }
        if let Some(number) = Self::optional_queue(rings, STATISTICS)
            && self.shared.wanted.load(Ordering::SeqCst)
            && let Some(head) = self.kept.take()
        {
            self.shared.wanted.store(false, Ordering::SeqCst);
            let queue = rings.queue(number);
            queue.push(head, 0)?;
            queue.signal()?;
        }
        Ok(())
    }
}

fn parse(bytes: &Buffer) -> Statistics {
    let count = (bytes.len() / STATISTIC).min(MOST_STATISTICS);
    let statistic = |n| {
        let mut entry = [0; STATISTIC as usize];
        bytes.read(n * STATISTIC, &mut entry);
        let [t0, t1, v0, v1, v2, v3, v4, v5, v6, v7] = entry;
        (u16::from_le_bytes([t0, t1]), u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]))
    };
    Statistics((0..count).map(statistic).collect())
}

/// Pages named by their numbers go to the host; those that are not RAM are passed over.
fn give_back_named(memory: &GuestMemory, names: &Buffer) {
    for n in 0..names.len() / 4 {
        let mut name = [0; 4];
        names.read(4 * n, &mut name);
        let at = GuestPhys(u64::from(u32::from_le_bytes(name)) * PAGE_SIZE);
        if let Ok(at) = memory.range(at, PAGE_SIZE) {
            memory.give_back(Piece { at, len: PAGE_SIZE });
        }
    }
}

impl Device for Balloon {
    fn id(&self) -> DeviceId {
        DeviceId::Balloon
    }

    fn name(&self) -> String {
        "the balloon".to_owned()
    }

    fn features(&self) -> u64 {
        STATISTICS | DEFLATE_ON_OOM | REPORTING
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 4]
    }

    fn config(&self) -> Vec<u8> {
        let (target, actual) = (&self.shared.target, &self.shared.actual);
        [target, actual].map(|pages| pages.load(Ordering::SeqCst).to_le_bytes()).concat()
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) {
        if let (ACTUAL, Ok(bytes)) = (offset, bytes.try_into()) {
            self.shared.actual.store(u32::from_le_bytes(bytes), Ordering::SeqCst);
        }
    }

    fn kick(&mut self, rings: &mut Rings, queue: u16) -> Result<Progress, Mistake> {
        let statistics = Self::optional_queue(rings, STATISTICS);
        let reporting = Self::optional_queue(rings, REPORTING);
        if Some(queue) == statistics {
            let progress = self.hear(rings.queue(queue))?;
            self.obey(rings)?;
            return Ok(progress);
        }
        let ring = rings.queue(queue);
        let memory = ring.memory().clone();
        let progress = ring.each(|ring, chain| {
            if queue == INFLATE || queue == DEFLATE {
                if chain.readable.len() > 4 * MOST_PAGES {
                    return Err(Mistake::Request { queue, what: "a chain that names too many pages" });
                }
                if queue == INFLATE {
                    give_back_named(&memory, &chain.readable);
                }
            } else if Some(queue) == reporting {
                chain.writable.pieces().iter().for_each(|piece| memory.give_back(*piece));
            }
            ring.push(chain.head, 0)?;
            Ok(Fate::Taken)
        })?;
        ring.signal()?;
        Ok(progress)
    }

    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.shared.bell.as_fd()]
    }

    fn woken(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        self.shared.bell.answer();
        self.obey(rings)?;
        Ok(Progress::Done)
    }

    fn reset(&mut self) {
        // The guest has all its memory again: it is as large as it was, and pages come back when touched.
        self.shared.actual.store(0, Ordering::SeqCst);
        (self.told, self.kept) = (0, None);
        self.shared.bell.ring(); // the next driver is told anew
    }

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}

/// A balloon at rest. Pages are the guest's and the memory's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalloonState {
    target: u32,
    actual: u32,
    told: u32,
    kept: Option<u16>,
}

impl Saved for Balloon {
    type State = BalloonState;
    const KIND: &'static str = "virtio-balloon";
    const VERSION: u16 = 1;

    fn save(&self) -> BalloonState {
        let Self { shared, told, kept } = self;
        BalloonState {
            target: shared.target.load(Ordering::SeqCst),
            actual: shared.actual.load(Ordering::SeqCst),
            told: *told,
            kept: *kept,
        }
    }

    fn restore(&mut self, state: BalloonState) -> Result<(), RestoreError> {
        let BalloonState { target, actual, told, kept } = state;
        if kept.is_some_and(|head| head >= QUEUE_SIZE) {
            let reason = "it keeps a chain that cannot be".to_owned();
            return Err(RestoreError::Invalid { kind: Self::KIND, reason });
        }
        self.shared.target.store(target, Ordering::SeqCst);
        self.shared.actual.store(actual, Ordering::SeqCst);
        (self.told, self.kept) = (told, kept);
        Ok(())
    }
}
