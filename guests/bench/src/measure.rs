//! The time of a round, once all is warm.
//!
//! The first round is timed by itself: what is loaded, faulted in or translated on the way is in it. Rounds go on uncounted
//! until a share of the time is over, and only then those are counted of which the time of a round is the mean.

use std::io;
use std::time::{Duration, Instant};

use crate::workload::Workload;

/// How long to go on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Counted rounds, after a fifth as many that are not.
    Rounds(u64),
    /// Counted time, after a fifth as much that is not; one round at least.
    Time(Duration),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The result of each round.
    pub digest: u64,
    /// The time of the first round.
    pub first: Duration,
    /// Rounds counted.
    pub rounds: u64,
    /// Their time.
    pub steady: Duration,
}

impl Measured {
    /// The mean time of a counted round.
    pub fn round(&self) -> Duration {
        Duration::from_secs_f64(self.steady.as_secs_f64() / self.rounds.max(1) as f64)
    }

    /// Two that ran at once, as one: their rounds, and the time that each of those took.
    pub fn and(self, other: Self) -> io::Result<Self> {
        same(self.digest, other.digest)?;
        Ok(Self {
            first: self.first.max(other.first),
            rounds: self.rounds + other.rounds,
            steady: self.steady + other.steady,
            ..self
        })
    }
}

/// Runs a workload.
///
/// # Errors
/// Those of the workload; a round whose result is not the first one's.
pub fn measure(workload: &Workload, amount: Amount) -> io::Result<Measured> {
    let mut round = (workload.start)()?;
    let begun = Instant::now();
    let digest = round()?;
    let first = begun.elapsed();
    // The first is warm-up, too.
    let mut so_far = 1;
    while match amount {
        Amount::Rounds(rounds) => so_far < rounds / 5,
        Amount::Time(time) => begun.elapsed() < time / 5,
    } {
        same(digest, round()?)?;
        so_far += 1;
    }
    let (begun, mut rounds) = (Instant::now(), 0);
    loop {
        same(digest, round()?)?;
        rounds += 1;
        let steady = begun.elapsed();
        let enough = match amount {
            Amount::Rounds(wanted) => rounds >= wanted,
            Amount::Time(time) => steady >= time,
        };
        if enough {
            return Ok(Measured { digest, first, rounds, steady });
        }
    }
}

fn same(first: u64, now: u64) -> io::Result<()> {
    if first == now {
        return Ok(());
    }
    Err(io::Error::other(format!("a round gave {now:016x} where the first gave {first:016x}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Class, Round};

    fn workload(start: fn() -> io::Result<Round>) -> Workload {
        Workload { name: "test", class: Class::Compute, about: "", start }
    }

    #[test]
    fn rounds_are_counted_after_those_that_warm_up() {
        let sleeper = workload(|| {
            Ok(Box::new(|| {
                std::thread::sleep(Duration::from_millis(2));
                Ok(7)
            }))
        });
        let measured = measure(&sleeper, Amount::Rounds(10)).unwrap();
        assert_eq!((measured.digest, measured.rounds), (7, 10));
        assert!(measured.round() >= Duration::from_millis(2));
        let measured = measure(&sleeper, Amount::Time(Duration::from_millis(1))).unwrap();
        assert_eq!(measured.rounds, 1);
    }

    #[test]
    fn a_result_that_changes_is_an_error() {
        let changing = workload(|| {
            let mut count = 0;
            Ok(Box::new(move || {
                count += 1;
                Ok(count / 6)
            }))
        });
        assert!(measure(&changing, Amount::Rounds(4)).is_ok());
        assert!(measure(&changing, Amount::Rounds(8)).is_err());
    }

    #[test]
    fn two_at_once_have_the_mean_of_their_times() {
        let one = Measured { digest: 1, first: Duration::ZERO, rounds: 2, steady: Duration::from_secs(2) };
        let other = Measured { rounds: 1, steady: Duration::from_secs(4), ..one };
        assert_eq!(one.and(other).unwrap().round(), Duration::from_secs(2));
        assert!(one.and(Measured { digest: 2, ..one }).is_err());
    }
}
