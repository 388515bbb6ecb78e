//! What x86 promises about the order in which one thread's loads and stores are seen by another (Intel's
//! manual, volume 3, section 8.2.3): each test counts outcomes that are forbidden, and there are to be none.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, compiler_fence, fence};
use std::thread;

use crate::Scale;
use crate::report::Report;

/// Two words on cache lines of their own.
#[repr(align(128))]
struct Line(AtomicU64);

pub fn run(report: &mut Report, scale: &Scale) {
    let rounds = 50_000 * u64::from(scale.rounds);
    let (x, y) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    report.expect("stores seen out of order", message(&x.0, &y.0, rounds), 0);
    report.expect("own store missed behind a fence", fenced(rounds / 100), 0);
    report.expect("loads that see the future", future(rounds / 100), 0);
}

/// One thread stores x, then y; the other loads y, then x, and must not find x older than y. Relaxed and kept
/// in order by the compiler's fence only, so that the processor's own order is what is tested.
fn message(x: &AtomicU64, y: &AtomicU64, rounds: u64) -> u32 {
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                x.store(round, Relaxed);
                compiler_fence(SeqCst);
                y.store(round, Relaxed);
            }
        });
        let mut wrong = 0;
        loop {
            let second = y.load(Relaxed);
            compiler_fence(SeqCst);
            let first = x.load(Relaxed);
            wrong += u32::from(first < second);
            if second == rounds {
                return wrong;
            }
        }
    })
}

/// Both threads store theirs and load the other's, with a fence between: at least one must see the other's.
fn fenced(rounds: u64) -> u32 {
    race(rounds, |mine, other, round| {
        mine.store(round, Relaxed);
        fence(SeqCst);
        other.load(Relaxed) == round
    })
    .into_iter()
    .filter(|(first, second)| !first && !second)
    .count() as u32
}

/// Both threads load the other's and store theirs after it: not both loads can see the other's later store.
fn future(rounds: u64) -> u32 {
    race(rounds, |mine, other, round| {
        let seen = other.load(Relaxed) == round;
        compiler_fence(SeqCst);
        mine.store(round, Relaxed);
        seen
    })
    .into_iter()
    .filter(|(first, second)| *first && *second)
    .count() as u32
}

/// Runs both sides of a race round by round, and returns what each side found.
fn race(rounds: u64, side: impl Fn(&AtomicU64, &AtomicU64, u64) -> bool + Sync) -> Vec<(bool, bool)> {
    let (x, y) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let start = Barrier::new(2);
    let run = |mine: &AtomicU64, other: &AtomicU64| -> Vec<bool> {
        let round = |round| {
            start.wait();
            side(mine, other, round)
        };
        (1..=rounds).map(round).collect()
    };
    thread::scope(|scope| {
        let second = scope.spawn(|| run(&y.0, &x.0));
        let first = run(&x.0, &y.0);
        first.into_iter().zip(second.join().unwrap_or_default()).collect()
    })
}
