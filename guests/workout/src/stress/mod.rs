//! All that CPUs can do to each other, at the same time, for some seconds: locked instructions, wherever they lie; mappings
//! that change under the feet of others; code written by one and run by another; futexes; signals.
//!
//! Each part has threads of its own, which run until they are told to stop, and says whether all that they saw was right.
//! How much they did depends on the machine and is not printed, but it has to be something: a thread that is told to stop
//! before it has done anything, on a machine that is busy elsewhere, does it first.

mod code;
mod counters;
mod protect;
mod remap;
mod signals;
mod touch;
mod turns;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::Scale;
use crate::report::Report;

/// What a part saw.
#[derive(Debug, Default, Clone, Copy)]
pub struct Verdict {
    /// How often it looked.
    pub looks: u64,
    /// How often what it saw could not be.
    pub wrong: u64,
}

impl Verdict {
    /// One look more.
    pub fn look(&mut self, right: bool) {
        self.looks += 1;
        self.wrong += u64::from(!right);
    }

    /// What two threads saw.
    pub fn and(self, other: Self) -> Self {
        Self { looks: self.looks + other.looks, wrong: self.wrong + other.wrong }
    }
}

/// When it is over.
#[derive(Debug, Default)]
pub struct Bell(AtomicBool);

impl Bell {
    pub fn rang(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A part: works until the bell rings.
type Part = fn(&Bell) -> io::Result<Verdict>;

const PARTS: [(&str, Part); 7] = [
    ("counters", counters::run),
    ("remapped pages", remap::run),
    ("protected pages", protect::run),
    ("rewritten code", code::rewritten),
    ("fresh code", code::fresh),
    ("turns", turns::run),
    ("signals", signals::run),
];

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let _faults = touch::install()?;
    let bell = &Bell::default();
    let verdicts: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = PARTS.iter().map(|(_, part)| scope.spawn(move || part(bell))).collect();
        thread::sleep(Duration::from_secs(scale.seconds.into()));
        bell.0.store(true, Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic"))))
            .collect()
    });
    for ((name, _), verdict) in PARTS.iter().zip(verdicts) {
        let verdict = verdict?;
        if verdict.wrong > 0 {
            report.value(name, format_args!("{} of {} wrong", verdict.wrong, verdict.looks));
        }
        report.check(name, verdict.looks > 0 && verdict.wrong == 0);
    }
    Ok(())
}
