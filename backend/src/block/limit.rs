//! How much a disk may do: a token bucket, without a clock of its own.
//!
//! It is kept as one number: the time at which the bucket would be full again (the "theoretical arrival time" of the
//! generic cell rate algorithm, ITU-T I.371). Something costs time, its amount over the rate; it may begin while the
//! bucket is no further behind than a burst. What costs more than a burst runs into debt, and what follows waits.

use std::time::Duration;

/// How much a bucket holds: what accrues in this time.
const BURST: Duration = Duration::from_millis(100);

/// A rate that is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Units a second; not zero.
    rate: u64,
    /// When the bucket is full again.
    full_at: Duration,
}

impl Limit {
    /// A limit of so many units a second; none for zero.
    pub fn new(rate: u64) -> Option<Self> {
        (rate > 0).then_some(Self { rate, full_at: Duration::ZERO })
    }

    /// When something may begin, if it may not at `now`.
    fn until(&self, now: Duration) -> Option<Duration> {
        let begin = self.full_at.saturating_sub(BURST);
        (begin > now).then_some(begin)
    }

    /// Something of so many units begins.
    fn pay(&mut self, now: Duration, units: u64) {
        let nanoseconds = u128::from(units) * 1_000_000_000 / u128::from(self.rate);
        // More than 500 years are no different from them.
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.full_at = self.full_at.max(now).saturating_add(cost);
    }
}

/// The limits of a disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Requests a second.
    pub requests: Option<Limit>,
    /// Bytes read or written a second.
    pub bytes: Option<Limit>,
}

impl Limits {
    /// Limits of so many requests and bytes a second; `None` for no limit.
    pub fn new(requests: Option<u64>, bytes: Option<u64>) -> Self {
        Self { requests: requests.and_then(Limit::new), bytes: bytes.and_then(Limit::new) }
    }

    /// Begins a request of so many bytes at `now`, a time since any fixed moment.
    ///
    /// # Errors
    /// The time at which it may begin instead.
    pub fn begin(&mut self, now: Duration, bytes: u64) -> Result<(), Duration> {
        let both = [self.requests.as_ref(), self.bytes.as_ref()];
        if let Some(until) = both.into_iter().flatten().filter_map(|limit| limit.until(now)).max() {
            return Err(until);
        }
        if let Some(limit) = &mut self.requests {
            limit.pay(now, 1);
        }
        if let Some(limit) = &mut self.bytes {
            limit.pay(now, bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests of a size begin within ten seconds, if there are always more.
    fn in_ten_seconds(mut limits: Limits, bytes: u64) -> u64 {
        let (mut now, mut count) = (Duration::from_secs(7), 0);
        while now < Duration::from_secs(17) {
            match limits.begin(now, bytes) {
                Ok(()) => count += 1,
                Err(until) => {
                    assert!(until > now, "waiting gets nowhere");
                    now = until;
                }
            }
        }
        count
    }

    #[test]
    fn rates_are_kept() {
        let within = |count: u64, expected: u64| count.abs_diff(expected) <= expected / 50 + 1;
        assert!(within(in_ten_seconds(Limits::new(Some(100), None), 4096), 1000));
        assert!(within(in_ten_seconds(Limits::new(None, Some(1 << 20)), 4096), 2560));
        assert!(within(in_ten_seconds(Limits::new(Some(100), Some(1 << 20)), 1 << 16), 160));
        assert!(within(in_ten_seconds(Limits::new(Some(100), Some(1 << 20)), 512), 1000));
        // A request larger than a second's worth still goes, and is paid for afterwards.
        assert!(within(in_ten_seconds(Limits::new(None, Some(1000)), 5000), 2));
    }

    #[test]
    fn idle_time_saves_up_no_more_than_a_burst() {
        let mut limits = Limits::new(Some(1000), None);
        let now = Duration::from_secs(3600);
        let at_once = (0..10_000).take_while(|_| limits.begin(now, 0).is_ok()).count();
        assert!((100..=102).contains(&at_once), "{at_once}");
    }

    #[test]
    fn no_limit_limits_nothing() {
        let mut limits = Limits::new(None, Some(0));
        assert!((0..100_000).all(|_| limits.begin(Duration::ZERO, u64::MAX).is_ok()));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut limits = Limits::new(Some(1), Some(1));
        assert_eq!(limits.begin(Duration::MAX, u64::MAX), Ok(()));
        let mut limits = Limits::new(Some(u64::MAX), Some(u64::MAX));
        assert_eq!(limits.begin(Duration::ZERO, u64::MAX), Ok(()));
        assert!(limits.begin(Duration::ZERO, 1).is_err());
    }
}
