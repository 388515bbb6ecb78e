//! Runs tests one after the other, each from the same baseline.

use super::{Failure, Test, Words, baseline};
use crate::trap;

/// The counts of a run.
#[derive(Default, Clone, Copy)]
pub struct Totals {
    /// Tests that passed.
    pub passed: u32,
    /// Tests that failed.
    pub failed: u32,
    /// Tests that this machine says it cannot run.
    pub skipped: u32,
}

/// Runs what `words` select of `families`.
///
/// An unexpected exception ends a test, not the run; `trace` announces each test before it
/// starts, so that the last line names the one that took the machine down.
pub fn run(families: &[&[Test]], words: &Words) -> Totals {
    let mut totals = Totals::default();
    for test in families.iter().copied().flatten().filter(|test| words.selects(test.name)) {
        if words.has("trace") {
            say!("RUN  {}", test.name);
        }
        let result = trap::catch(test.run);
        baseline::restore();
        match result.unwrap_or_else(|trap| Err(trap.into())) {
            Ok(()) => {
                totals.passed += 1;
                say!("PASS {}", test.name);
            }
            Err(Failure::Absent(reason)) => {
                totals.skipped += 1;
                say!("SKIP {}: {}", test.name, reason.as_str());
            }
            Err(Failure::Wrong(detail)) => {
                totals.failed += 1;
                say!("FAIL {}: {}", test.name, detail.as_str());
            }
        }
    }
    totals
}
