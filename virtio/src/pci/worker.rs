//! The device's thread and what it shares with the vCPUs.
//!
//! A vCPU that notifies a queue sets a bit and rings a bell; all work on queues is done by the thread, under the lock
//! of the device. Whoever else takes the lock (a vCPU that reads the device's configuration or resets it, a
//! pause) waits for no more than a batch.
//!
//! A *reset* while requests are with the back-end is done by the thread when they have come back; until then the
//! status register does not show zero, and drivers wait for that (2.4.2). Likewise a machine that is to *stand*
//! waits for them, and a vCPU that takes the right to be *bus master* from the device (PCI 3.0, 6.2.2): without it the
//! device touches no guest memory, as if the machine stood.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use base::Bell;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::interrupts::PciInterrupts;
use crate::device::Device;
use crate::interrupt::Interrupt;
use crate::mistake::Mistake;
use crate::queue::Progress;
use crate::rings::Rings;

/// Mistakes of one device's driver that are logged.
const MOST_LINES: u32 = 16;

/// What the lock protects.
pub(super) struct Work {
    pub device: Box<dyn Device>,
    /// There while the driver uses the device.
    pub rings: Option<Rings>,
    standing: bool,
    /// It may be bus master.
    pub master: bool,
    stopped: bool,
}

impl Work {
    fn idle(&self) -> bool {
        self.rings.is_none() || self.device.idle()
    }

    /// Nothing new is to be begun in guest memory.
    fn rests(&self) -> bool {
        self.standing || !self.master
    }
}

/// What the thread shares with others.
pub(super) struct Shared {
    work: Mutex<Work>,
    /// Rings when the thread has changed something.
    changed: Condvar,
    bell: Bell,
    /// Queues that were notified, a bit each.
    kicked: AtomicU64,
    /// The driver has reset the device, which is not done yet.
    resetting: AtomicBool,
    /// The driver made a mistake, and must reset the device.
    broken: AtomicBool,
    lines: AtomicU32,
    interrupts: Arc<PciInterrupts>,
}

impl Shared {
    pub fn new(device: Box<dyn Device>, interrupts: Arc<PciInterrupts>) -> io::Result<Self> {
        Ok(Self {
            work: Mutex::new(Work { device, rings: None, standing: true, master: false, stopped: false }),
            changed: Condvar::new(),
            bell: Bell::new()?,
            kicked: AtomicU64::new(0),
            resetting: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            lines: AtomicU32::new(0),
            interrupts,
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vCPU notifies a queue.
    #[inline]
    pub fn kick(&self, queue: u16) {
        let bit = 1 << queue;
        if self.kicked.fetch_or(bit, Ordering::SeqCst) & bit == 0 {
            self.bell.ring();
        }
    }

    fn kick_all(&self) {
        self.kicked.store(u64::MAX, Ordering::SeqCst);
        self.bell.ring();
    }

    pub fn is_resetting(&self) -> bool {
        self.resetting.load(Ordering::SeqCst)
    }

    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// The driver is ready.
    pub fn start(&self, rings: Result<Rings, Mistake>) {
        let mut work = self.lock();
        match rings {
            Ok(mut rings) => {
                work.device.start(&mut rings);
                work.rings = Some(rings);
                self.kick_all();
            }
            Err(mistake) => self.breaks(&work, mistake),
        }
    }

    /// The driver made a mistake.
    fn breaks(&self, work: &Work, mistake: Mistake) {
        if self.lines.fetch_add(1, Ordering::Relaxed) < MOST_LINES {
            let name = work.device.name();
            tracing::warn!(
                "{name}: the guest's driver made a mistake, the device waits for a reset: {mistake}"
            );
        }
        self.broken.store(true, Ordering::SeqCst);
        self.interrupts.config();
    }

    /// For a restore: the device is as it was when it was saved.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// The driver resets the device: at once, if nothing is with the back-end.
    pub fn reset(&self) {
        let mut work = self.lock();
        self.resetting.store(true, Ordering::SeqCst);
        self.finish_reset(&mut work);
        self.bell.ring();
    }

    /// As [`Shared::reset`], and waits for its end.
    pub fn reset_and_wait(&self) {
        self.reset();
        let waits = |_: &mut Work| self.is_resetting();
        drop(self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner));
    }

    fn finish_reset(&self, work: &mut Work) {
        if self.is_resetting() && work.idle() {
            work.device.reset();
            work.rings = None;
            self.interrupts.reset_device();
            self.kicked.store(0, Ordering::SeqCst);
            self.broken.store(false, Ordering::SeqCst);
            self.resetting.store(false, Ordering::SeqCst);
        }
    }

    /// The machine stands or goes on. When it is to stand, this waits until nothing is with the back-end.
    pub fn stand(&self, standing: bool) {
        let mut work = self.lock();
        work.standing = standing;
        if !standing {
            drop(work);
            self.kick_all();
            return;
        }
        self.bell.ring();
        let moves = |work: &mut Work| work.standing && (!work.idle() || self.is_resetting());
        drop(self.changed.wait_while(work, moves).unwrap_or_else(PoisonError::into_inner));
    }

    /// The guest makes the device a bus master or none. Kicks that come while it is none are remembered.
    pub fn set_master(&self, master: bool) {
        self.lock().master = master;
        self.kick_all();
    }

    /// Waits until nothing is with the back-end of a device that is no bus master.
    pub fn settle(&self) {
        let moves = |work: &mut Work| !work.master && !work.idle();
        drop(self.changed.wait_while(self.lock(), moves).unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.bell.ring();
    }

    /// The back-end's wakes, for as long as the thread runs.
    pub fn wakes(&self) -> io::Result<Vec<OwnedFd>> {
        self.lock().device.wakes().iter().map(|wake| wake.try_clone_to_owned()).collect()
    }

    /// The thread.
    pub fn run(&self, wakes: &[OwnedFd]) {
        loop {
            let listens: Vec<bool> = {
                let work = self.lock();
                let open = work.rings.is_some() && (!work.rests() || !work.idle());
                (0..wakes.len()).map(|wake| open && work.device.listens(wake)).collect()
            };
            let heard = zip(wakes, &listens).map(|wake| PollFd::new(wake.as_fd(), PollFlags::POLLIN));
            let mut fds: Vec<_> =
                [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)].into_iter().chain(heard).collect();
            // An interruption is as good as a spurious wake.
            let _ = poll(&mut fds, PollTimeout::NONE);
            let woken = fds[1..].iter().any(|fd| fd.any().unwrap_or(true));
            self.bell.answer();
            let mut work = self.lock();
            if work.stopped {
                return;
            }
            self.turn(&mut work, woken);
            self.changed.notify_all();
        }
    }

    /// One round: first what has come back, then a reset or what is new.
    fn turn(&self, work: &mut Work, woken: bool) {
        let mut result = Ok(());
        // The wake may have been heard when the device still ran; now it rests, and guest memory with it.
        let open = !work.rests() || !work.device.idle();
        if woken
            && open
            && let Work { device, rings: Some(rings), .. } = work
        {
            match device.woken(rings) {
                Ok(Progress::More) => self.kick_all(),
                Ok(Progress::Done) => {}
                Err(mistake) => result = Err(mistake),
            }
        }
        self.finish_reset(work);
        if result.is_ok() && !work.rests() && !self.is_resetting() && !self.is_broken() {
            let kicked = self.kicked.swap(0, Ordering::SeqCst);
            if let Work { device, rings: Some(rings), .. } = work {
                let mut numbers = (0..rings.queues().len() as u16).filter(|queue| kicked & 1 << queue != 0);
                result = numbers.try_for_each(|queue| {
                    if device.kick(rings, queue)? == Progress::More {
                        self.kick(queue);
                    }
                    Ok(())
                });
            }
        }
        if let Err(mistake) = result
            && !self.is_broken()
        {
            self.breaks(work, mistake);
        }
    }
}

/// The wakes that are listened to.
fn zip<'a>(wakes: &'a [OwnedFd], listens: &'a [bool]) -> impl Iterator<Item = &'a OwnedFd> {
    wakes.iter().zip(listens).filter(|(_, listens)| **listens).map(|(wake, _)| wake)
}
