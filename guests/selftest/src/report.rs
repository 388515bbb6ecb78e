//! What the kernel said on its serial port.

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// `family.noun`.
    pub name: String,
    /// What was wrong, in the kernel's words.
    pub detail: String,
}

/// A test that the machine says it cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// `family.noun`.
    pub name: String,
    /// What CPUID or ACPI lacks, in the kernel's words.
    pub reason: String,
}

/// The tests of one run, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names of the tests that passed.
    pub passed: Vec<String>,
    /// The tests that failed.
    pub failed: Vec<Failed>,
    /// The tests that were skipped.
    pub skipped: Vec<Skipped>,
    /// The last test announced by `trace` if it never reported: the one that took the machine down.
    pub unfinished: Option<String>,
    /// True if the closing line is there and its counts are those of the lines before it.
    pub complete: bool,
}

impl Report {
    /// Reads console output; lines that are not the report's are passed over.
    pub fn parse(console: &str) -> Self {
        let mut report = Self::default();
        for line in console.lines().map(str::trim_end) {
            if let Some(name) = line.strip_prefix("RUN  ") {
                report.unfinished = Some(name.to_owned());
            } else if let Some(name) = line.strip_prefix("PASS ") {
                report.passed.push(name.to_owned());
                report.unfinished = None;
            } else if let Some((name, detail)) = split(line, "FAIL ") {
                report.failed.push(Failed { name, detail });
                report.unfinished = None;
            } else if let Some((name, reason)) = split(line, "SKIP ") {
                report.skipped.push(Skipped { name, reason });
                report.unfinished = None;
            } else if let Some(totals) = line.strip_prefix("selftest: ")
                && totals.contains(" passed, ")
            {
                report.complete = totals == report.totals();
            }
        }
        report
    }

    /// True if the run came to its end and no test failed.
    pub fn is_success(&self) -> bool {
        self.complete && self.failed.is_empty() && !self.passed.is_empty()
    }

    /// The closing line that belongs to these tests, without its prefix.
    fn totals(&self) -> String {
        let skipped = match self.skipped.len() {
            0 => String::new(),
            count => format!(", {count} skipped"),
        };
        format!("{} passed, {} failed{skipped}", self.passed.len(), self.failed.len())
    }
}

/// `PREFIX name: text` as name and text.
fn split(line: &str, prefix: &str) -> Option<(String, String)> {
    let (name, text) = line.strip_prefix(prefix)?.split_once(": ")?;
    Some((name.to_owned(), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_line() {
        let report = Report::parse(
            "selftest: Ringfence self-test kernel\r\n\
             acpi: 1 CPUs\r\n\
             PASS integer.add\r\n\
             SKIP paging.pcid: CPUID offers no pcid\r\n\
             FAIL paging.accessed: entry: 0x7, expected 0x27\r\n\
             selftest: 1 passed, 1 failed, 1 skipped\r\n",
        );
        assert_eq!(report.passed, ["integer.add"]);
        assert_eq!(report.failed[0].name, "paging.accessed");
        assert_eq!(report.failed[0].detail, "entry: 0x7, expected 0x27");
        assert_eq!(report.skipped[0].reason, "CPUID offers no pcid");
        assert!(report.complete);
        assert!(!report.is_success());
    }

    #[test]
    fn succeeds_only_when_complete() {
        let lines = "PASS a.b\nPASS a.c\n";
        assert!(!Report::parse(lines).is_success());
        assert!(Report::parse(&format!("{lines}selftest: 2 passed, 0 failed\n")).is_success());
        assert!(!Report::parse(&format!("{lines}selftest: 3 passed, 0 failed\n")).is_success());
        assert!(!Report::parse("selftest: 0 passed, 0 failed\n").is_success());
    }

    #[test]
    fn names_the_test_that_took_the_machine_down() {
        let report = Report::parse("RUN  a.b\nPASS a.b\nRUN  a.c\n");
        assert_eq!(report.unfinished.as_deref(), Some("a.c"));
        assert_eq!(Report::parse("RUN  a.b\nPASS a.b\n").unfinished, None);
    }
}
