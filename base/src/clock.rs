//! Virtual time: nanoseconds since the VM was made, by the host's monotonic clock, standing still while
//! the VM is paused. Every timer of the board and the guest's TSC read this one clock, so that a guest
//! that checks one against another never finds a difference.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Not paused.
const RUNNING: u64 = u64::MAX;

/// A clock that can be stopped. Reads are lock-free.
#[derive(Debug)]
pub struct VirtualClock {
    origin: Instant,
    /// Host nanoseconds since `origin` that do not count (modulo 2^64: a restored clock starts ahead).
    skipped: AtomicU64,
    /// The virtual time at which the clock stands, or `RUNNING`.
    stopped_at: AtomicU64,
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl VirtualClock {
    /// A running clock that shows `nanoseconds` now.
    pub fn starting_at(nanoseconds: u64) -> Self {
        Self {
            origin: Instant::now(),
            skipped: AtomicU64::new(0u64.wrapping_sub(nanoseconds)),
            stopped_at: AtomicU64::new(RUNNING),
        }
    }

    fn host(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// The virtual time in nanoseconds.
    pub fn now(&self) -> u64 {
        match self.stopped_at.load(Ordering::Acquire) {
            RUNNING => self.host().wrapping_sub(self.skipped.load(Ordering::Acquire)),
            stopped => stopped,
        }
    }

    /// Stops the clock. Stopping a stopped clock changes nothing. Only one thread may stop and start it.
    pub fn pause(&self) {
        if !self.is_paused() {
            self.stopped_at.store(self.now(), Ordering::Release);
        }
    }

    /// Lets the clock go on from where it stands.
    pub fn resume(&self) {
        let stopped = self.stopped_at.load(Ordering::Acquire);
        if stopped != RUNNING {
            self.skipped.store(self.host().wrapping_sub(stopped), Ordering::Release);
            self.stopped_at.store(RUNNING, Ordering::Release);
        }
    }

    /// Sets the clock, running or not: for the restore of a saved VM.
    pub fn set(&self, nanoseconds: u64) {
        if self.is_paused() {
            self.stopped_at.store(nanoseconds, Ordering::Release);
        } else {
            self.skipped.store(self.host().wrapping_sub(nanoseconds), Ordering::Release);
        }
    }

    /// Does the clock stand?
    pub fn is_paused(&self) -> bool {
        self.stopped_at.load(Ordering::Acquire) != RUNNING
    }

    /// How long the host must wait for `deadline`: zero if it has passed, `None` while the clock stands.
    pub fn until(&self, deadline: u64) -> Option<Duration> {
        (!self.is_paused()).then(|| Duration::from_nanos(deadline.saturating_sub(self.now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_clock_stands_and_goes_on_from_there() {
        let clock = VirtualClock::starting_at(5_000_000_000);
        assert!(clock.now() >= 5_000_000_000);
        clock.pause();
        let stood = clock.now();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.now(), stood);
        assert_eq!(clock.until(stood + 1), None);
        let resumed = Instant::now();
        clock.resume();
        let after = clock.now();
        assert!(after >= stood && after - stood <= resumed.elapsed().as_nanos() as u64);
        let set = Instant::now();
        clock.set(7);
        assert!(clock.now() - 7 <= set.elapsed().as_nanos() as u64);
    }
}
