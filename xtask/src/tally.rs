//! Counts of the tests that ran, read off the lines in which test programs report them.

use std::time::Duration;

/// Tests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Takes note of a line of output: the test harness's `test result: …` counts.
    pub fn note(&mut self, line: &str) {
        let Some(counts) = line.trim_start().strip_prefix("test result: ") else { return };
        let mut words = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).peekable();
        while let Some(word) = words.next() {
            let Ok(count) = word.parse::<u64>() else { continue };
            match words.peek() {
                Some(&"passed") => self.passed += count,
                Some(&"failed") => self.failed += count,
                Some(&"ignored") => self.ignored += count,
                _ => {}
            }
        }
    }

    /// Have tests run?
    pub fn any(&self) -> bool {
        self.passed + self.failed > 0
    }

    /// One line for all, as a test harness writes it.
    pub fn line(&self, time: Duration) -> String {
        let Self { passed, failed, ignored } = self;
        let word = if *failed == 0 { "ok" } else { "FAILED" };
        format!(
            "test result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; \
             finished in {:.2}s",
            time.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 2 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.50s",
            "12 passed by",
        ] {
            tally.note(line);
        }
        assert_eq!(tally, Tally { passed: 16, failed: 2, ignored: 1 });
        assert!(
            tally
                .line(Duration::from_secs(2))
                .starts_with("test result: FAILED. 16 passed; 2 failed; 1 ignored")
        );
    }
}
