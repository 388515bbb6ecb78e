//! Threads: locks and futexes, atomics, what one thread sees of another's stores, and what is each one's own.

mod atomics;
mod futex;
mod local;
mod locks;
mod order;

use std::io;

use crate::Scale;
use crate::report::Report;

/// Threads side by side.
const THREADS: usize = 4;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    locks::run(report, scale);
    futex::run(report, scale)?;
    atomics::run(report, scale);
    order::run(report, scale);
    local::run(report, scale);
    Ok(())
}
