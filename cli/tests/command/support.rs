//! Running `ringfence` in a home of its own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A user with an empty home.
pub struct User {
    home: TempDir,
}

impl User {
    pub fn new() -> Self {
        Self { home: TempDir::new().expect("a directory") }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The command with these arguments, not yet started.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(args).stdin(Stdio::null()).env("HOME", self.home()).env_remove("RINGFENCE_LOG");
        command.env_remove("XDG_CACHE_HOME").env_remove("XDG_STATE_HOME");
        command
    }

    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
        Outcome::of(self.command(args).output().expect("ringfence starts"))
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// It ended well.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.stdout
    }

    /// It ended with this status, printed nothing, and said these words.
    #[track_caller]
    pub fn fails(self, status: i32, words: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert!(self.stderr.contains(words), "{words:?} is not in {self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(!self.stderr.contains('\x1b'), "no colour where there is no terminal: {self:?}");
    }
}
