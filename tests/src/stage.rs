//! Where a story plays.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{Engine, Ringfence};

/// An engine, and a folder of its own.
pub struct Stage {
    /// The engine; `None` in a story that has nothing to do with engines.
    engine: Option<Engine>,
    folder: TempDir,
}

impl Stage {
    /// An empty stage.
    ///
    /// # Errors
    /// Where no folder can be made.
    pub fn new(engine: Option<Engine>) -> Result<Self> {
        Ok(Self { engine, folder: TempDir::new().context("cannot make a folder for a story")? })
    }

    /// `ringfence run --engine ENGINE --console-log LOG WORDS`: quiet, so that what is heard is the guest.
    pub fn ringfence<Word: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = Word>) -> Ringfence {
        self.logged(&self.console(), words)
    }

    /// The same for a second machine, beside the first.
    pub fn beside<Word: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = Word>) -> Ringfence {
        self.logged(&self.path().join("beside.log"), words)
    }

    fn logged<Word: AsRef<OsStr>>(&self, log: &Path, words: impl IntoIterator<Item = Word>) -> Ringfence {
        let run = Ringfence::new(["run", "--quiet", "--console-log"]).arg(log);
        match self.engine {
            Some(engine) => run.args(["--engine", engine.name]).args(words),
            None => run.args(words),
        }
    }

    /// `… debian -- sh -c SCRIPT`.
    pub fn shell(&self, script: &str) -> Ringfence {
        self.ringfence(["debian", "--", "sh", "-c", script])
    }

    /// How many vCPUs the engine can run.
    pub fn vcpus(&self) -> u32 {
        self.engine.map_or(1, |engine| engine.vcpus)
    }

    /// Puts a file into the folder.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The console log.
    pub fn console(&self) -> PathBuf {
        self.path().join("console.log")
    }
}
