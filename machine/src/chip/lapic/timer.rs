//! The local APIC's timer (SDM vol. 3, 11.5.4).
//!
//! Its bus clock is 1 GHz, one tick a virtual nanosecond, before the divider: the same rate as the
//! time-stamp counter. IA32_TSC_DEADLINE arrives here in the ticks of [`engine::Board::tsc`]: the engine,
//! which owns IA32_TSC_ADJUST, takes the adjustment off on a write and adds it on a read, and writes an armed
//! deadline anew when the adjustment changes, so that it stays the same on the guest's clock. The chip needs
//! no knowledge of the CPU.

use serde::{Deserialize, Serialize};

/// LVT bits 17 and 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Fires once.
    OneShot,
    /// Reloads.
    Periodic,
    /// Fires when the time-stamp counter reaches a value.
    TscDeadline,
}

/// A count that runs down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Countdown {
    /// When it stood at `count`.
    since: u64,
    count: u32,
}

/// The timer. The struct is its own saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    mode: Mode,
    /// The divide configuration register.
    divide: u8,
    initial: u32,
    running: Option<Countdown>,
    /// IA32_TSC_DEADLINE; zero when disarmed.
    deadline: u64,
}

impl Default for Timer {
    fn default() -> Self {
        Self { mode: Mode::OneShot, divide: 0, initial: 0, running: None, deadline: 0 }
    }
}

impl Timer {
    /// Can a state like this be?
    pub fn is_sound(&self) -> bool {
        let armed = self.deadline != 0;
        let counts = self.running.is_some_and(|running| running.count != 0);
        self.divide & !0xb == 0
            && match self.mode {
                Mode::TscDeadline => self.running.is_none(),
                _ => !armed && (self.running.is_none() || counts),
            }
    }

    /// Nanoseconds a tick of the count takes.
    fn tick(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        1 << (code.wrapping_add(1) & 7)
    }

    /// The LVT's mode bits are written; changing to or from TSC-deadline disarms.
    pub fn set_mode(&mut self, mode: Mode) {
        if (mode == Mode::TscDeadline) != (self.mode == Mode::TscDeadline) {
            self.running = None;
            self.deadline = 0;
        }
        self.mode = mode;
    }

    /// The initial count is written: starts the timer, or stops it with zero.
    pub fn start(&mut self, initial: u32, now: u64) {
        if self.mode != Mode::TscDeadline {
            self.initial = initial;
            self.running = (initial != 0).then_some(Countdown { since: now, count: initial });
        }
    }

    /// The initial count as written.
    pub fn initial(&self) -> u32 {
        self.initial
    }

    /// The current count.
    pub fn current(&self, now: u64) -> u32 {
        self.running.map_or(0, |Countdown { since, count }| {
            let gone = now.saturating_sub(since) / self.tick();
            u64::from(count).saturating_sub(gone) as u32
        })
    }

    /// The divide configuration register.
    pub fn divide(&self) -> u8 {
        self.divide
    }

    /// Sets it; a running count goes on from where it is.
    pub fn set_divide(&mut self, value: u8, now: u64) {
        let count = self.current(now);
        self.divide = value & 0xb;
        if let Some(running) = &mut self.running {
            *running = Countdown { since: now, count: count.max(1) };
        }
    }

    /// IA32_TSC_DEADLINE.
    pub fn tsc_deadline(&self) -> u64 {
        self.deadline
    }

    /// Sets it; without effect outside its mode.
    pub fn set_tsc_deadline(&mut self, deadline: u64) {
        if self.mode == Mode::TscDeadline {
            self.deadline = deadline;
        }
    }

    /// When the timer fires next.
    pub fn expires(&self) -> Option<u64> {
        match self.mode {
            Mode::TscDeadline => (self.deadline != 0).then_some(self.deadline),
            _ => self
                .running
                .map(|Countdown { since, count }| since.saturating_add(u64::from(count) * self.tick())),
        }
    }

    /// Catches up with the time. True if it fired.
    pub fn advance(&mut self, now: u64) -> bool {
        let Some(expires) = self.expires().filter(|&expires| expires <= now) else { return false };
        self.deadline = 0;
        self.running = (self.mode == Mode::Periodic && self.initial != 0).then(|| {
            let period = u64::from(self.initial) * self.tick();
            Countdown { since: expires + (now - expires) / period * period, count: self.initial }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divider_is_coded_as_in_the_manual() {
        let tick = |divide| Timer { divide, ..Timer::default() }.tick();
        assert_eq!([0, 1, 2, 3, 8, 9, 10, 11].map(tick), [2, 4, 8, 16, 32, 64, 128, 1]);
    }

    #[test]
    fn one_shot_fires_once() {
        let mut timer = Timer::default();
        timer.set_divide(3, 0);
        timer.start(1000, 50);
        assert_eq!((timer.current(50), timer.current(50 + 8000)), (1000, 500));
        assert_eq!(timer.expires(), Some(16_050));
        assert!(!timer.advance(16_049) && timer.advance(16_050) && !timer.advance(99_000));
        assert_eq!((timer.current(99_000), timer.expires()), (0, None));
    }

    #[test]
    fn periodic_keeps_its_phase() {
        let mut timer = Timer::default();
        timer.set_divide(0xb, 0);
        timer.set_mode(Mode::Periodic);
        timer.start(100, 0);
        assert!(timer.advance(351));
        assert_eq!((timer.expires(), timer.current(351)), (Some(400), 49));
        timer.set_mode(Mode::OneShot);
        assert!(timer.advance(400));
        assert_eq!(timer.expires(), None);
    }

    #[test]
    fn a_changed_divider_goes_on_with_the_count() {
        let mut timer = Timer::default();
        timer.set_divide(0xb, 0);
        timer.start(100, 0);
        timer.set_divide(0, 40);
        assert_eq!((timer.current(40), timer.expires()), (60, Some(160)));
    }

    #[test]
    fn the_deadline_disarms_itself_and_with_its_mode() {
        let mut timer = Timer::default();
        timer.set_tsc_deadline(5);
        assert_eq!(timer.tsc_deadline(), 0, "not in this mode");
        timer.set_mode(Mode::TscDeadline);
        timer.start(100, 0);
        assert_eq!(timer.expires(), None, "the initial count is ignored");
        timer.set_tsc_deadline(500);
        assert!(!timer.advance(499) && timer.advance(500));
        assert_eq!((timer.tsc_deadline(), timer.expires()), (0, None));
        timer.set_tsc_deadline(900);
        timer.set_mode(Mode::OneShot);
        assert_eq!(timer.expires(), None);
    }
}
