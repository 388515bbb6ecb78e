//! Follows an installation by what it says on its console.

use crate::Progress;

/// How many of the last lines are kept, to be quoted if it fails.
const KEPT: usize = 200;

/// Follows one installation.
pub(super) struct Follow<'a> {
    progress: &'a mut dyn Progress,
    /// Steps that there are, and that were seen: each package is unpacked and set up.
    steps: (u64, u64),
    /// How it ended, if it has.
    status: Option<u8>,
    /// What the installer's script complained of.
    complaint: Option<String>,
    last: Vec<String>,
}

impl<'a> Follow<'a> {
    /// An installation of so many packages.
    pub(super) fn new(packages: usize, progress: &'a mut dyn Progress) -> Self {
        let steps = (2 * packages as u64 + 1, 0);
        Self { progress, steps, status: None, complaint: None, last: vec![] }
    }

    /// It said this.
    pub(super) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        let (whole, done) = &mut self.steps;
        if (line.starts_with("Unpacking ") || line.starts_with("Setting up ")) && *done < *whole {
            *done += 1;
            self.progress.advance(*done * 100 / *whole);
        }
        self.status = crate::exec::status(line).or(self.status);
        if let Some(complaint) = line.strip_prefix("ringfence: install: ") {
            self.complaint = Some(complaint.to_owned());
        }
        if self.last.len() == KEPT {
            self.last.remove(0);
        }
        self.last.push(line.to_owned());
    }

    /// How it went: `Ok` if all is installed, or else what is known of the reason.
    pub(super) fn end(self) -> Result<(), String> {
        if self.status == Some(0) {
            return Ok(());
        }
        let complaint =
            self.complaint.unwrap_or_else(|| "the machine went off before it was done".to_owned());
        // What dpkg and apt say of it, the first reason first.
        let reason = self.last.iter().find(|line| {
            line.starts_with("dpkg: error") || line.starts_with("E: ") || line.contains("Kernel panic")
        });
        Err(match reason {
            Some(reason) => format!("{complaint} ({reason})"),
            None => complaint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Amount, Silent};

    #[derive(Default)]
    struct Positions(Vec<u64>);

    impl Progress for Positions {
        fn start(&mut self, _: &str, _: Amount) {}
        fn advance(&mut self, done: u64) {
            self.0.push(done);
        }
        fn finish(&mut self) {}
    }

    #[test]
    fn steps_and_the_end() {
        let mut positions = Positions::default();
        let mut follow = Follow::new(2, &mut positions);
        for line in [
            "Unpacking a:amd64 (1) ...\r",
            "Setting up a:amd64 (1) ...",
            "Unpacking b (2)",
            "x",
            "ringfence: status 0",
        ] {
            follow.line(line);
        }
        assert_eq!(follow.end(), Ok(()));
        assert_eq!(positions.0, [20, 40, 60]);
    }

    #[test]
    fn failures_are_quoted() {
        let said = |lines: &[&str]| {
            let (mut silent, lines) = (Silent, lines.iter());
            let mut follow = Follow::new(1, &mut silent);
            lines.for_each(|line| follow.line(line));
            follow.end().unwrap_err()
        };
        let lines = [
            "dpkg: error processing package x (--install):",
            "E: more",
            "ringfence: install: no",
            "ringfence: status 1",
        ];
        assert_eq!(said(&lines), "no (dpkg: error processing package x (--install):)");
        assert_eq!(said(&[]), "the machine went off before it was done");
        let many = vec!["Unpacking"; 1000];
        assert!(said(&many).contains("went off"));
    }
}
