//! The alarm clock: one thread per VM that wakes each chip at its deadline.
//!
//! Every chip has a slot with its next deadline, written under the chip's own lock. The thread sleeps until
//! the earliest. Setting a slot is one store, and a wake-up only if the new deadline is earlier than what
//! the thread sleeps for; deadlines that move away, as those of an idle guest's timer mostly do, cost nothing
//! but one idle round later on.
//!
//! *No deadline is missed*: the setter stores its slot and then looks at `planned`; the thread stores
//! `planned` and then looks at the slots once more. In the one total order of these accesses one of them is
//! second and sees the other.
//!
//! *No guest keeps a host CPU busy*: however short the periods a guest programs, rounds are
//! [`SHORTEST`] apart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use base::VirtualClock;

use super::seat::lock;

/// No deadline.
const NEVER: u64 = u64::MAX;
/// The least time between two rounds, in nanoseconds.
const SHORTEST: u64 = 20_000;

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    stopped: bool,
}

/// Deadlines by slot, and the thread that sleeps over them.
#[derive(Debug)]
pub struct AlarmClock {
    clock: Arc<VirtualClock>,
    slots: Box<[AtomicU64]>,
    /// The deadline the thread sleeps for; zero while it is awake.
    planned: AtomicU64,
    bell: Mutex<Bell>,
    ring: Condvar,
    /// Held during a round.
    round: Mutex<()>,
}

impl AlarmClock {
    /// An alarm clock with so many slots, all empty.
    pub fn new(clock: Arc<VirtualClock>, slots: usize) -> Self {
        Self {
            clock,
            slots: (0..slots).map(|_| AtomicU64::new(NEVER)).collect(),
            planned: AtomicU64::new(0),
            bell: Mutex::default(),
            ring: Condvar::new(),
            round: Mutex::default(),
        }
    }

    /// Sets the deadline of a slot. Call it under the lock of the chip that the deadline belongs to.
    pub fn set(&self, slot: usize, deadline: Option<u64>) {
        let deadline = deadline.unwrap_or(NEVER);
        if self.slots[slot].load(Ordering::Relaxed) == deadline {
            return;
        }
        self.slots[slot].store(deadline, Ordering::SeqCst);
        if deadline < self.planned.load(Ordering::SeqCst) {
            self.wake(|bell| bell.rung = true);
        }
    }

    /// Makes the thread look again: the clock goes on, or shows another time.
    pub fn ring(&self) {
        self.wake(|bell| bell.rung = true);
    }

    /// Waits for the end of a round under way. While the clock stands there is no other.
    pub fn quiesce(&self) {
        drop(lock(&self.round));
    }

    /// Makes ready for another [`run`](Self::run).
    pub fn open(&self) {
        self.wake(|bell| *bell = Bell::default());
    }

    /// Ends [`run`](Self::run), also one that has not begun yet.
    pub fn stop(&self) {
        self.wake(|bell| bell.stopped = true);
    }

    fn wake(&self, change: impl FnOnce(&mut Bell)) {
        change(&mut lock(&self.bell));
        self.ring.notify_all();
    }

    fn earliest(&self) -> u64 {
        self.slots.iter().map(|slot| slot.load(Ordering::SeqCst)).min().unwrap_or(NEVER)
    }

    /// The thread: calls `expire` with each slot whose deadline has come, until stopped. `expire` must set
    /// the slot anew.
    pub fn run(&self, expire: &dyn Fn(usize)) {
        let mut not_before = 0;
        loop {
            let earliest = self.earliest();
            self.planned.store(earliest, Ordering::SeqCst);
            if self.earliest() < earliest {
                continue;
            }
            if !self.sleep(earliest, not_before) {
                return;
            }
            self.planned.store(0, Ordering::SeqCst);
            let _round = lock(&self.round);
            let now = self.clock.now();
            if self.clock.is_paused() {
                continue; // to sleep until the bell
            }
            if now < not_before {
                not_before = not_before.min(now + SHORTEST); // rung early: sleep on for what is left
                continue;
            }
            for (index, slot) in self.slots.iter().enumerate() {
                if slot.load(Ordering::SeqCst) <= now {
                    expire(index);
                    not_before = now + SHORTEST;
                }
            }
        }
    }

    /// Sleeps until `deadline` (not before `not_before`) or the bell. False when stopped.
    fn sleep(&self, deadline: u64, not_before: u64) -> bool {
        let mut bell = lock(&self.bell);
        if !bell.rung && !bell.stopped {
            let limit = match deadline {
                NEVER => None,
                _ => self.clock.until(deadline.max(not_before)),
            };
            bell = match limit {
                Some(Duration::ZERO) => bell,
                Some(limit) => self.ring.wait_timeout(bell, limit).unwrap_or_else(PoisonError::into_inner).0,
                None => self.ring.wait(bell).unwrap_or_else(PoisonError::into_inner),
            };
        }
        bell.rung = false;
        !bell.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Runs an alarm clock whose every expiry counts and clears its slot.
    fn with_clock(slots: usize, story: impl FnOnce(&AlarmClock, &VirtualClock, &AtomicUsize)) {
        let clock = Arc::new(VirtualClock::default());
        let alarm = AlarmClock::new(Arc::clone(&clock), slots);
        let fired = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                alarm.run(&|slot| {
                    alarm.set(slot, None);
                    fired.fetch_add(1, Ordering::SeqCst);
                });
            });
            story(&alarm, &clock, &fired);
            alarm.stop();
        });
    }

    fn wait_for(fired: &AtomicUsize, count: usize) {
        let start = std::time::Instant::now();
        while fired.load(Ordering::SeqCst) < count {
            assert!(start.elapsed() < Duration::from_secs(60), "the alarm did not fire");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_earlier_deadline_wakes_the_thread() {
        with_clock(2, |alarm, clock, fired| {
            alarm.set(0, Some(clock.now() + 3_600_000_000_000));
            alarm.set(1, Some(clock.now() + 1_000_000));
            wait_for(fired, 1);
            alarm.set(1, Some(clock.now()));
            wait_for(fired, 2);
        });
    }

    #[test]
    fn a_standing_clock_fires_nothing_until_it_goes_on() {
        with_clock(1, |alarm, clock, fired| {
            clock.pause();
            alarm.set(0, Some(clock.now() + 100_000));
            std::thread::sleep(Duration::from_millis(5));
            alarm.set(0, Some(0)); // due, but time stands
            alarm.ring();
            std::thread::sleep(Duration::from_millis(5));
            alarm.quiesce();
            assert_eq!(fired.load(Ordering::SeqCst), 0);
            clock.resume();
            alarm.ring();
            wait_for(fired, 1);
        });
    }
}
