//! The file that keeps what the console said.
//!
//! It is bounded: at [`LIMIT`] bytes it is renamed to `*.old`, in place of an earlier one, and begun anew. Logs without a
//! name of the user's choice lie in one directory, of which the newest [`KEPT`] stay.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, process};

/// The bytes that a log file holds.
const LIMIT: u64 = 8 << 20;
/// The logs that are kept.
const KEPT: usize = 50;

/// A log of bounded size.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

impl Log {
    /// Begins a log at `path`, in place of what was there.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { path: std::path::absolute(path)?, file: File::create(path)?, written: 0, limit: LIMIT })
    }

    /// Begins a log with a name of its own for a machine that runs `name`, and removes the oldest.
    pub fn create_for(name: &str) -> io::Result<Self> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state =
            absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let state =
            state.ok_or_else(|| io::Error::other("neither HOME nor XDG_STATE_HOME is an absolute path"))?;
        let directory = state.join("ringfence/console");
        fs::create_dir_all(&directory)?;
        prune(&directory, KEPT - 1)?;
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "-");
        Self::create(&directory.join(format!("{now}-{name}-{}.log", process::id())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= self.limit {
            fs::rename(&self.path, old(&self.path))?;
            self.file = File::create(&self.path)?;
            self.written = 0;
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Where the part before goes.
fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// Does the process that the name ends with still run? (Or another of its number; then the log goes later.)
fn is_in_use(name: &str) -> bool {
    let pid = name.strip_suffix(".log").and_then(|name| name.rsplit('-').next()?.parse::<u32>().ok());
    pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
}

/// Removes all logs of `directory` but the newest `keep` and those in use. Their names begin with their time.
fn prune(directory: &Path, keep: usize) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| name.ends_with(".log")));
    }
    names.sort_unstable();
    for name in names.iter().rev().skip(keep).filter(|name| !is_in_use(name)) {
        let path = directory.join(name);
        for path in [old(&path), path] {
            // Another process may prune as well; and most have no *.old.
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_begins_anew_and_keeps_one_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut log = Log { limit: 10, ..Log::create(&path).unwrap() };
        for text in ["first 0123", "second 012", "third 0123", "4"] {
            log.write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "4");
        assert_eq!(fs::read_to_string(old(&path)).unwrap(), "third 0123");
    }

    #[test]
    fn the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let in_use = format!("2025-12-debian-{}.log", process::id());
        for name in
            [&in_use, "2026-01-x.log", "2026-01-x.log.old", "2026-02-x.log", "2026-03-x.log", "notes.txt"]
        {
            fs::write(directory.path().join(name), "").unwrap();
        }
        prune(directory.path(), 2).unwrap();
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [&in_use, "2026-02-x.log", "2026-03-x.log", "notes.txt"]);
    }
}
