//! How long stories took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A story that took less is not shown by itself.
const SHOWN: Duration = Duration::from_secs(10);

/// The times of stories, taken while several are told. Shown, they are a table: the slowest first, then all by subject.
#[derive(Clone, Debug, Default)]
pub struct Times(Arc<Mutex<Vec<(String, Duration)>>>);

impl Times {
    /// One was told: the name of its test, and how long that took.
    pub fn note(&self, name: &str, took: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), took));
    }
}

/// `translate::disks::one` is about `disks`, and so is `disks::one`.
fn subject(name: &str) -> &str {
    name.rsplit("::").nth(1).unwrap_or(name)
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        times.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        for (name, took) in times.iter().take_while(|(_, took)| *took >= SHOWN) {
            writeln!(f, "{:>8.1} s  {name}", took.as_secs_f64())?;
        }
        let mut subjects: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for (name, took) in &times {
            let (count, sum) = subjects.entry(subject(name)).or_default();
            (*count, *sum) = (*count + 1, *sum + *took);
        }
        for (subject, (count, sum)) in subjects {
            writeln!(f, "{:>8.1} s  in {count} of {subject}", sum.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_are_named_and_all_are_counted() {
        let times = Times::default();
        times.note("translate::disks::slow", Duration::from_secs(11));
        times.note("interpret::disks::slower", Duration::from_secs(12));
        times.note("disks::fast", Duration::from_secs(1));
        let lines: Vec<_> = times.to_string().lines().map(|line| line.trim().to_owned()).collect();
        assert_eq!(
            lines,
            ["12.0 s  interpret::disks::slower", "11.0 s  translate::disks::slow", "24.0 s  in 3 of disks"]
        );
    }
}
