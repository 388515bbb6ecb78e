//! A clock that goes off: a descriptor that is readable from a time on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The clock.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    set: Option<Instant>,
}

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// Where the host has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        Ok(Self { timer, set: None })
    }

    /// Goes off at that time, or never. It may go off earlier than that, where it was set so before: setting it back is not
    /// worth a system call.
    pub fn at(&mut self, time: Option<Instant>) {
        let Some(time) = time else { return };
        if self.set.is_some_and(|set| set <= time) {
            return;
        }
        let left = time.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let set = Expiration::OneShot(TimeSpec::from_duration(left));
        if self.timer.set(set, TimerSetTimeFlags::empty()).is_ok() {
            self.set = Some(time);
        }
    }

    /// Silences it, if its time has come. Not by a read: the timer was started a little after its time had been worked out,
    /// goes off as much later, and would then ring without end for somebody who believes to have answered it.
    pub fn answer(&mut self) {
        if self.set.is_some_and(|set| set <= Instant::now()) && self.timer.unset().is_ok() {
            self.set = None;
        }
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{LONG, readable};

    #[test]
    fn an_answer_silences_also_what_goes_off_late() {
        let mut alarm = Alarm::new().unwrap();
        let now = Instant::now();
        alarm.at(Some(now + Duration::from_millis(30)));
        // As if the thread had been kept waiting between looking at the clock and starting the timer.
        alarm.set = Some(now);
        alarm.answer();
        assert!(!readable(alarm.as_fd(), 100));
        alarm.at(Some(now));
        assert!(readable(alarm.as_fd(), LONG));
    }
}
