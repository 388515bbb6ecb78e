//! A run that is over, and what is expected of it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Result, bail};

/// How much of an output a message shows: the beginning and the end.
const SHOWN: usize = 3000;

/// What a process left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The command, as one would type it.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Its standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// It exited with this status.
    ///
    /// # Errors
    /// If it did not; so with all that follow.
    pub fn exits(self, code: u8) -> Result<Self> {
        if self.status.code() != Some(code.into()) {
            bail!("expected exit status {code}\n{self}");
        }
        Ok(self)
    }

    /// Its standard output is exactly this.
    pub fn prints(self, expected: impl AsRef<[u8]>) -> Result<Self> {
        let expected = expected.as_ref();
        if self.stdout != expected {
            bail!("expected other output:\n{}\n{self}", Difference { expected, found: &self.stdout });
        }
        Ok(self)
    }

    /// Its standard output contains this.
    pub fn says(self, words: &str) -> Result<Self> {
        if !self.out().contains(words) {
            bail!("expected `{words}` on standard output\n{self}");
        }
        Ok(self)
    }

    /// Its standard error contains this.
    pub fn complains(self, words: &str) -> Result<Self> {
        if !self.err().contains(words) {
            bail!("expected `{words}` on standard error\n{self}");
        }
        Ok(self)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        writeln!(f, "$ {command}")?;
        match (status.code(), status.signal()) {
            (Some(code), _) => writeln!(f, "exit status {code}")?,
            (None, signal) => writeln!(f, "killed by signal {}", signal.unwrap_or(0))?,
        }
        for (name, bytes) in [("standard output", stdout), ("standard error", stderr)] {
            writeln!(f, "── {name}, {} bytes", bytes.len())?;
            let text = String::from_utf8_lossy(bytes);
            let chars: Vec<char> = text.chars().collect();
            match chars.len() <= 2 * SHOWN {
                true => writeln!(f, "{text}")?,
                false => {
                    let (head, tail) = (&chars[..SHOWN], &chars[chars.len() - SHOWN..]);
                    let text = |part: &[char]| part.iter().collect::<String>();
                    writeln!(f, "{}\n[…]\n{}", text(head), text(tail))?;
                }
            }
        }
        Ok(())
    }
}

/// Where two outputs part.
struct Difference<'a> {
    expected: &'a [u8],
    found: &'a [u8],
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |bytes: &[u8]| -> Vec<String> {
            bytes
                .split(|byte| *byte == b'\n')
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect()
        };
        let (expected, found) = (lines(self.expected), lines(self.found));
        let at = expected.iter().zip(&found).take_while(|(one, other)| one == other).count();
        let line = |lines: &[String]| match lines.get(at) {
            Some(line) => line.chars().take(200).collect::<String>(),
            None => "(nothing)".to_owned(),
        };
        writeln!(f, "line {}:", at + 1)?;
        writeln!(f, "  expected {}", line(&expected))?;
        write!(f, "  found    {}", line(&found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, out: &str) -> Ended {
        Ended {
            command: "ringfence run".into(),
            status: ExitStatus::from_raw(code << 8),
            stdout: out.into(),
            stderr: b"error: no\n".into(),
        }
    }

    #[test]
    fn what_is_expected_passes_and_nothing_else() {
        assert!(ended(7, "one\ntwo\n").exits(7).and_then(|run| run.prints("one\ntwo\n")).is_ok());
        assert!(ended(0, "").exits(7).is_err());
        assert!(ended(0, "one").says("two").is_err());
        assert!(ended(0, "one").complains("error").is_ok());
        assert!(ended(0, "one").complains("one").is_err());
    }

    #[test]
    fn a_message_shows_where_outputs_part_and_all_that_was_said() {
        let message = ended(0, "one\ntwo\n").prints("one\nzwei\n").unwrap_err().to_string();
        for words in
            ["line 2:", "expected zwei", "found    two", "$ ringfence run", "exit status 0", "error: no"]
        {
            assert!(message.contains(words), "{message}");
        }
    }
}
