//! Progress as apt writes it to `APT::Status-Fd` (apt's README.progress-reporting):
//! `dlstatus:ITEM:PERCENT:TEXT`.

/// Follows the status lines of one command.
#[derive(Debug)]
pub(super) struct Reader {
    whole: u64,
    furthest: u64,
}

impl Reader {
    /// The work is `whole` units long.
    pub(super) fn new(whole: u64) -> Self {
        Self { whole, furthest: 0 }
    }

    /// How many units are done, if `line` tells of any that are new. apt learns
    /// of further files as it goes, and then its percentages go back; these do not.
    pub(super) fn position(&mut self, line: &str) -> Option<u64> {
        let mut fields = line.strip_prefix("dlstatus:")?.split(':');
        let percent: f64 = fields.nth(1)?.parse().ok()?;
        if !(0.0..=100.0).contains(&percent) {
            return None;
        }
        let done = (self.whole as f64 * percent / 100.0) as u64;
        let done = done.min(self.whole);
        (done > self.furthest).then(|| {
            self.furthest = done;
            done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positions() {
        let mut reader = Reader::new(26_484_304);
        let lines = [
            ("dlstatus:1:0.0000:Retrieving file 1 of 1", None),
            ("dlstatus:1:50.0000:Retrieving file 1 of 1 (3s remaining)", Some(13_242_152)),
            ("dlstatus:1:20.0000:Retrieving file 1 of 2", None),
            ("pmstatus:foo:90:Installing", None),
            ("dlstatus:1:nan:x", None),
            ("dlstatus:1:101:x", None),
            ("dlstatus:1", None),
            ("dlstatus:1:100.0000:Retrieving file 1 of 1", Some(26_484_304)),
        ];
        for (line, position) in lines {
            assert_eq!(reader.position(line), position, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_back_never_beyond(
            whole in any::<u64>(),
            percents in prop::collection::vec(any::<f64>(), 0..20),
        ) {
            let mut reader = Reader::new(whole);
            let mut last = 0;
            for percent in percents {
                if let Some(done) = reader.position(&format!("dlstatus:1:{percent}:x")) {
                    prop_assert!(done > last && done <= whole);
                    last = done;
                }
            }
        }

        #[test]
        fn any_line_is_harmless(line in "(dlstatus:)?.*") {
            Reader::new(100).position(&line);
        }
    }
}
