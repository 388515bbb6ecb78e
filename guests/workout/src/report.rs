//! What a run prints: `family: name: value`, one line a finding, the same on every correct machine.

use std::fmt::{Debug, Display};

/// The findings of one family, printed as they come.
pub struct Report {
    family: &'static str,
    failures: usize,
}

impl Report {
    /// An empty report.
    pub fn new(family: &'static str) -> Self {
        Self { family, failures: 0 }
    }

    /// A finding that is right if another machine finds the same.
    pub fn value(&mut self, name: &str, value: impl Display) {
        println!("{}: {name}: {value}", self.family);
    }

    /// A finding that is right or wrong by itself.
    pub fn check(&mut self, name: &str, right: bool) {
        self.value(name, if right { "PASS" } else { "FAIL" });
        self.failures += usize::from(!right);
    }

    /// A finding of which the right value is known.
    pub fn expect<T: Debug + PartialEq>(&mut self, name: &str, found: T, right: T) {
        if found == right {
            self.value(name, format_args!("{found:?}"));
        } else {
            self.failures += 1;
            self.value(name, format_args!("FAIL: {found:?}, and {right:?} is right"));
        }
    }

    /// How many findings were wrong.
    pub fn failures(&self) -> usize {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_counts_as_a_failure() {
        let mut report = Report::new("test");
        report.value("value", 1);
        report.check("right", true);
        report.expect("equal", [1, 2], [1, 2]);
        assert_eq!(report.failures(), 0);
        report.check("wrong", false);
        report.expect("unequal", [1, 2], [2, 1]);
        assert_eq!(report.failures(), 2);
    }
}
