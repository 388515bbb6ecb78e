//! The guest's time-stamp counter, computed by translated code from the host's.
//!
//! The guest's counts virtual nanoseconds ([`engine::Board::tsc`]), the host's ticks. Translated code scales what has passed since
//! the last time that both were compared; they are compared again and again, and in between the scaled one goes
//! slower by a trifle rather than faster, so that it steps forwards when it is corrected and never back.

use std::arch::x86_64::{__cpuid, _rdtsc};

use crate::frame::Frame;

/// Host ticks after which the two are compared again: less than a millisecond.
const PERIOD: u64 = 1 << 20;
/// Host ticks over which the rate is measured: some tenths of a second.
const SPAN: u64 = 1 << 30;
/// The least that a first measurement takes: about a millisecond.
const FIRST: u64 = 1 << 22;
/// The scaled counter goes slower by one part in so many.
const SLOWER: u64 = 1 << 15;
/// Starting that much earlier than now, the difference is positive on every core of the host.
const MARGIN: u64 = 1 << 16;

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct Moment {
    host: u64,
    guest: u64,
}

/// Keeps the frame's words for the time-stamp counter right.
pub(crate) struct Counter {
    /// Since when the present rate is being measured.
    since: Moment,
    /// When the two were compared last.
    last: u64,
    /// Guest ticks for a host tick, times 2^64; zero where that is not known yet.
    scale: u64,
    adjust: u64,
}

impl Counter {
    /// Can it be done on this host? Its counter must go at one rate, whatever the power state (AMD APM vol. 3,
    /// Fn8000_0007; SDM vol. 3, 18.17.1), and faster than the guest's. Several vCPUs must agree on the time to the
    /// nanosecond, which they would not between two comparisons; they ask the board each time.
    pub fn supported(vcpus: u32) -> bool {
        const INVARIANT: u32 = 1 << 8;
        vcpus == 1 && __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & INVARIANT != 0
    }

    /// Starts to measure. `guest` gives the guest's counter.
    pub fn new(guest: impl Fn() -> u64) -> Self {
        let since = now(&guest);
        Self { since, last: since.host, scale: 0, adjust: 0 }
    }

    /// Is the rate known, so that translated code may read the frame's words?
    pub fn is_known(&self) -> bool {
        self.scale != 0
    }

    /// The machine stood still, or its clock was set.
    pub fn restart(&mut self, frame: &mut Frame, guest: impl Fn() -> u64) {
        self.since = now(&guest);
        self.put(frame, self.since);
    }

    /// Compares the two if it is time to. `adjust` is IA32_TSC_ADJUST. True if the rate has become known.
    pub fn update(&mut self, frame: &mut Frame, adjust: u64, guest: impl Fn() -> u64) -> bool {
        if ticks().wrapping_sub(self.last) < PERIOD && adjust == self.adjust {
            return false;
        }
        let mut moment = now(&guest);
        if self.scale == 0 {
            self.last = moment.host;
            if moment.host.wrapping_sub(self.since.host) > FIRST {
                // A clock that stands is none to scale.
                self.scale = scale(self.since, moment);
                self.adjust = adjust;
                self.restart(frame, guest);
            }
            return self.is_known();
        }
        let shown = Self::shown(frame, moment.host);
        let moved = std::mem::replace(&mut self.adjust, adjust) != adjust;
        if moved {
            self.since = moment;
        } else if moment.host.wrapping_sub(self.since.host) > SPAN {
            self.scale = scale(self.since, moment);
            self.since = moment;
        }
        if !moved && (shown.wrapping_sub(moment.guest) as i64) > 0 {
            moment.guest = shown;
        }
        self.put(frame, moment);
        false
    }

    /// What translated code reads when the host's counter is at `host`.
    fn shown(frame: &Frame, host: u64) -> u64 {
        let passed = u128::from(host.wrapping_add(frame.tsc_minus_from));
        ((passed * u128::from(frame.tsc_scale)) >> 64) as u64 + frame.tsc_at
    }

    fn put(&mut self, frame: &mut Frame, moment: Moment) {
        let margin = ((u128::from(MARGIN) * u128::from(self.scale)) >> 64) as u64;
        frame.tsc_minus_from = MARGIN.wrapping_sub(moment.host);
        frame.tsc_scale = self.scale;
        frame.tsc_at = moment.guest.wrapping_sub(margin);
        self.last = moment.host;
    }
}

/// The host's time-stamp counter.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has a time-stamp counter; Linux lets programs read it.
    #[allow(unsafe_code)]
    unsafe {
        _rdtsc()
    }
}

/// One moment, read so that the guest's counter is not ahead of the host's, and not far behind: whoever is
/// interrupted between the two tries again.
fn now(guest: &impl Fn() -> u64) -> Moment {
    const CLOSE: u64 = 1 << 9;
    const TRIES: u32 = 8;
    let try_once = || {
        let (before, guest, host) = (ticks(), guest(), ticks());
        (host.wrapping_sub(before), Moment { host, guest })
    };
    let (mut gap, mut moment) = try_once();
    for _ in 1..TRIES {
        if gap <= CLOSE {
            break;
        }
        let (next_gap, next) = try_once();
        if next_gap <= gap {
            (gap, moment) = (next_gap, next);
        }
    }
    moment
}

/// The rate between two moments, a trifle less.
fn scale(from: Moment, to: Moment) -> u64 {
    let (host, guest) = (to.host.wrapping_sub(from.host), to.guest.wrapping_sub(from.guest));
    let guest = guest.min(host.saturating_sub(1));
    let exact = ((u128::from(guest) << 64) / u128::from(host.max(1))) as u64;
    exact - exact / SLOWER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FramePage;

    #[test]
    fn a_clock_that_stands_is_not_scaled() {
        let mut page = FramePage::new().unwrap();
        let mut counter = Counter::new(|| 77);
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 10 {
            assert!(!counter.update(page.frame(), 0, || 77));
        }
        assert!(!counter.is_known());
    }

    #[test]
    fn it_never_goes_back_nor_ahead() {
        if !Counter::supported(1) {
            return;
        }
        let start = std::time::Instant::now();
        let guest = || 100_000_000_000 + start.elapsed().as_nanos() as u64;
        let mut page = FramePage::new().unwrap();
        let frame = page.frame();
        let mut counter = Counter::new(guest);
        let (mut last, mut looks) = (0, 0);
        // A busy host may keep this thread waiting for the whole of that time.
        while start.elapsed().as_millis() < 30 || looks < 100 {
            counter.update(frame, 0, guest);
            if !counter.is_known() {
                continue;
            }
            looks += 1;
            let before = guest();
            let shown = Counter::shown(frame, ticks());
            let after = guest();
            assert!(shown >= last, "{shown} after {last}");
            assert!(shown <= after + 2_000, "{shown} before {after}");
            assert!(before - shown.min(before) < 20_000_000, "{shown} long before {before}");
            last = shown;
        }
        assert!(last > 0);
        counter.update(frame, 5, || guest() - 50_000_000_000);
        assert!(Counter::shown(frame, ticks()) < last, "the guest has set it back");
    }
}
