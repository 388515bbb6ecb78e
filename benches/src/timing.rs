//! Times between the marks of a run, by the host's clock.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::script::UP;

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    /// From the start to user space.
    pub up: Duration,
    /// Each workload: its time, and the digest of its result.
    pub workloads: BTreeMap<String, (Duration, String)>,
    /// What the engine counted, where there is one of ours.
    pub engine: Option<Counted>,
}

/// What matters here of the JSON that `ringfence run --stats --json` prints: over the whole run, from the start of the
/// machine to its end.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Counted {
    /// Guest instructions a second.
    pub instructions_per_second: f64,
}

/// Reads the output of a run that began at `began` to its end.
pub fn read(output: impl Read, began: Instant) -> Result<Timings> {
    let mut timings = Timings::default();
    let mut since = None;
    let mut last = String::new();
    let mut lines = BufReader::new(output);
    let mut bytes = vec![];
    while lines.read_until(b'\n', &mut bytes)? > 0 {
        let now = Instant::now();
        let line = String::from_utf8_lossy(&bytes).trim().to_owned();
        bytes.clear();
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(UP), None) => timings.up = now - began,
            (Some("@begin"), Some(name)) => since = Some((name.to_owned(), now)),
            (Some("@end"), Some(name)) => {
                let (begun, start) =
                    since.take().with_context(|| format!("`{name}` ends and never began"))?;
                if begun != name {
                    bail!("`{name}` ends where `{begun}` was running");
                }
                let result = words.collect::<Vec<_>>().join(" ");
                if result.is_empty() {
                    bail!("`{name}` has no result");
                }
                timings.workloads.insert(begun, (now - start, result));
            }
            _ => {}
        }
        last = line;
    }
    if timings.up.is_zero() {
        bail!("user space was not reached; its last line was: {last}");
    }
    if let Some((name, _)) = since {
        bail!("it ended in the midst of `{name}`; its last line was: {last}");
    }
    Ok(timings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_among_other_lines() {
        let output =
            "[ 0.1] boot\r\n@up\r\n@begin a\r\nnoise\r\n@end a 7 -\r\n@begin b\n@end b 8\n[ 9.9] down\n";
        let timings = read(output.as_bytes(), Instant::now()).unwrap();
        let results: Vec<_> =
            timings.workloads.iter().map(|(name, (_, result))| (&**name, &**result)).collect();
        assert_eq!(results, [("a", "7 -"), ("b", "8")]);
    }

    #[test]
    fn a_run_that_breaks_off_is_no_run() {
        let fails = |output: &str| read(output.as_bytes(), Instant::now()).is_err();
        assert!(fails("Kernel panic\n"));
        assert!(fails("@up\n@begin a\n"));
        assert!(fails("@up\n@begin a\n@end b\n"));
        assert!(fails("@up\n@end a\n"));
        assert!(fails("@up\n@begin a\n@end a\n"));
    }
}
