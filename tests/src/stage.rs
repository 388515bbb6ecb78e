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

    /// `ringfence run --engine ENGINE --vcpus VCPUS --console-log LOG WORDS`: quiet, so that what is heard is the guest.
    pub fn ringfence<Word: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = Word>) -> Ringfence {
        self.logged(&self.console(), self.usual(), words)
    }

    /// The same for a second machine, beside the first.
    pub fn beside<Word: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = Word>) -> Ringfence {
        self.logged(&self.path().join("beside.log"), self.usual(), words)
    }

    /// The same with as many vCPUs as the engine is to run at most.
    pub fn with_all_vcpus<Word: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = Word>) -> Ringfence {
        self.logged(&self.console(), self.vcpus(), words)
    }

    /// How many vCPUs it runs where a story does not care.
    pub fn usual(&self) -> u32 {
        self.engine.map_or(1, |engine| engine.usual)
    }

    /// How many rounds, lines or bytes a long story is told with: all of them where it is told in full, fewer elsewhere.
    pub fn length(&self, full: usize, short: usize) -> usize {
        if self.engine.is_none_or(|engine| engine.full) { full } else { short }
    }

    fn logged<Word: AsRef<OsStr>>(
        &self,
        log: &Path,
        vcpus: u32,
        words: impl IntoIterator<Item = Word>,
    ) -> Ringfence {
        let mut run = Ringfence::new(["run", "--quiet", "--console-log"]).arg(log);
        if let Some(engine) = self.engine {
            run = run.args(["--engine", engine.name]);
        }
        // One is what Ringfence gives unasked.
        if vcpus > 1 {
            run = run.arg("--vcpus").arg(vcpus.to_string());
        }
        run.args(words)
    }

    /// `… debian -- sh -c SCRIPT`.
    pub fn shell(&self, script: &str) -> Ringfence {
        self.ringfence(["debian", "--", "sh", "-c", script])
    }

    /// The engine.
    pub fn engine(&self) -> Option<Engine> {
        self.engine
    }

    /// How many vCPUs the engine is to run at most.
    pub fn vcpus(&self) -> u32 {
        self.engine.map_or(1, |engine| engine.most)
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
