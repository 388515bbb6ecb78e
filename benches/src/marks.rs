//! The marks that a run prints, each with the time of the host's clock at which it was read.
//!
//! ```text
//! @up                                        user space runs
//! @begin NAME                                a workload begins
//! @end NAME DIGEST ROUNDS FIRST STEADY ALL   it is done: nanoseconds by the guest's clock
//! @absent NAME                               the processor lacks what it needs
//! @failed NAME                               it went wrong
//! @done                                      all is done
//! ```
//!
//! A guest's clock may go wrong, and with it all that the guest says of its own speed. So ALL, the time from mark to mark, is compared with
//! the host's; where they do not agree, the guest's times are corrected by their ratio, and that is told.

use std::time::Duration;

use serde::Serialize;

/// What a workload did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Done {
    /// Of each round's result.
    pub digest: String,
    /// Counted rounds.
    pub rounds: u64,
    /// Seconds that the first round took, before any was counted.
    pub first: f64,
    /// Seconds that a counted round took, on average.
    pub round: f64,
    /// The host's time from mark to mark over the guest's.
    pub clock: f64,
}

/// A guest's clock may differ by a share of the time, and by what marks take on their way.
const CLOCK_SHARE: f64 = 0.03;
const CLOCK_SECONDS: f64 = 0.025;

impl Done {
    /// Did guest and host not agree on the time?
    pub fn clock_is_wrong(&self) -> bool {
        self.clock != 1.0
    }

    /// Of the words after `@end NAME`, `host` after `@begin NAME`.
    fn read(words: &[&str], host: Duration) -> Option<Self> {
        let [digest, numbers @ ..] = words else { return None };
        let numbers: Vec<u64> = numbers.iter().map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [rounds, first, steady, all] = numbers[..] else { return None };
        if rounds == 0 {
            return None;
        }
        let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
        let (guest, host) = (seconds(all).max(1e-9), host.as_secs_f64());
        let off = (host - guest).abs();
        let clock = if off > CLOCK_SECONDS + CLOCK_SHARE * host { host / guest } else { 1.0 };
        let round = seconds(steady) * clock / rounds as f64;
        Some(Self { digest: (*digest).to_owned(), rounds, first: seconds(first) * clock, round, clock })
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// User space runs.
    Up,
    /// A workload is done.
    Done(String, Done),
    /// The processor lacks what a workload needs.
    Absent(String),
    /// A workload went wrong.
    Failed(String),
    /// All is done.
    End,
}

/// Reads marks line by line.
#[derive(Debug, Default)]
pub struct Marks {
    running: Option<(String, Duration)>,
}

impl Marks {
    /// Takes a line that was read at `now`, on any clock that goes on.
    pub fn line(&mut self, line: &str, now: Duration) -> Option<Event> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["@up"] => Some(Event::Up),
            ["@done"] => Some(Event::End),
            ["@begin", name] => {
                let left_off = self.running.replace((name.to_owned(), now));
                left_off.map(|(name, _)| Event::Failed(name))
            }
            [what @ ("@failed" | "@absent"), name] => {
                self.running = None;
                let event = if what == "@failed" { Event::Failed } else { Event::Absent };
                Some(event(name.to_owned()))
            }
            ["@end", name, ref rest @ ..] => {
                let begun = self.running.take().filter(|(running, _)| running == name);
                let done = begun.and_then(|(_, begun)| Done::read(rest, now.saturating_sub(begun)));
                let name = name.to_owned();
                Some(done.map_or(Event::Failed(name.clone()), |done| Event::Done(name, done)))
            }
            _ => None,
        }
    }

    /// The workload that is running.
    pub fn running(&self) -> Option<&str> {
        self.running.as_ref().map(|(name, _)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(lines: &[(&str, u64)]) -> Vec<Event> {
        let mut marks = Marks::default();
        lines.iter().filter_map(|(line, at)| marks.line(line, Duration::from_millis(*at))).collect()
    }

    #[test]
    fn marks_are_found_among_other_lines() {
        let found = events(&[
            ("[ 0.1] boot", 0),
            ("@up\r", 100),
            ("@begin sort", 200),
            ("noise @end", 300),
            ("@end sort 00ff 10 200000000 500000000 1000000000", 1205),
            ("@done", 1300),
        ]);
        let done = Done { digest: "00ff".to_owned(), rounds: 10, first: 0.2, round: 0.05, clock: 1.0 };
        assert_eq!(found, [Event::Up, Event::Done("sort".to_owned(), done), Event::End]);
    }

    #[test]
    fn a_clock_that_goes_slowly_gains_nothing() {
        let found = events(&[("@begin a", 0), ("@end a 1 10 200000000 500000000 1000000000", 4000)]);
        let [Event::Done(_, done)] = &found[..] else { panic!("{found:?}") };
        assert!(done.clock_is_wrong());
        assert_eq!((done.first, done.round, done.clock), (0.8, 0.2, 4.0));
    }

    #[test]
    fn what_is_not_done_has_failed() {
        let failed = |name: &str| Event::Failed(name.to_owned());
        assert_eq!(events(&[("@begin a", 0), ("@failed a", 1)]), [failed("a")]);
        assert_eq!(events(&[("@begin a", 0), ("@absent a", 1)]), [Event::Absent("a".to_owned())]);
        assert_eq!(events(&[("@begin a", 0), ("@begin b", 1)]), [failed("a")]);
        assert_eq!(events(&[("@end a 1 1 1 1 1", 1)]), [failed("a")]);
        assert_eq!(events(&[("@begin a", 0), ("@end a 1 0 1 1 1", 1)]), [failed("a")]);
        assert_eq!(events(&[("@begin a", 0), ("@end b 1 1 1 1 1", 1)]), [failed("b")]);
    }
}
