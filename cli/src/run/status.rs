//! What the loop of a run and those who serve it from outside tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use control::State;

/// Where the machine is in its life.
#[derive(Debug)]
pub struct Status {
    started: AtomicBool,
    paused: AtomicBool,
    stopping: AtomicBool,
    reboots: AtomicU64,
    since: Instant,
    unix: u64,
}

impl Status {
    /// Of a machine that begins now.
    pub fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            started: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            reboots: AtomicU64::new(0),
            since: Instant::now(),
            unix,
        }
    }

    /// Whether the guest is as far as it was to get.
    pub fn set_started(&self, started: bool) {
        self.started.store(started, Ordering::Relaxed);
    }

    /// The machine stands, or goes on.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// The guest was asked to go off.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The guest starts anew.
    pub fn reboots(&self) {
        self.reboots.fetch_add(1, Ordering::Relaxed);
        self.started.store(false, Ordering::Relaxed);
        self.stopping.store(false, Ordering::Relaxed);
    }

    /// The word for it.
    pub fn state(&self) -> State {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        match (is(&self.paused), is(&self.stopping), is(&self.started)) {
            (true, _, _) => State::Paused,
            (_, true, _) => State::Stopping,
            (_, _, false) => State::Booting,
            (_, _, true) => State::Running,
        }
    }

    /// How often the guest has started anew.
    pub fn times_rebooted(&self) -> u64 {
        self.reboots.load(Ordering::Relaxed)
    }

    /// When it began, in seconds since 1970, and how many seconds that is ago.
    pub fn began(&self) -> (u64, u64) {
        (self.unix, self.since.elapsed().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_boot_to_a_reboot() {
        let status = Status::new();
        assert_eq!(status.state(), State::Booting);
        status.set_started(true);
        assert_eq!(status.state(), State::Running);
        status.set_stopping();
        assert_eq!(status.state(), State::Stopping);
        status.set_paused(true);
        assert_eq!(status.state(), State::Paused);
        status.set_paused(false);
        status.reboots();
        assert_eq!((status.state(), status.times_rebooted()), (State::Booting, 1));
    }
}
