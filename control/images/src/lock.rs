//! Advisory locks between processes that share a store.
//!
//! There are two, each a file of its own:
//!
//! - `pull.lock` is held, exclusively, by whoever fetches or removes, and may be
//!   held for minutes;
//! - `store.lock` is held for moments: shared by readers, exclusively while a
//!   manifest changes and unreferenced blobs go. A reader thus finds every blob
//!   that its manifest names, and never waits for a download.
//!
//! Order: `pull.lock` before `store.lock`. The kernel drops both with the
//! process, so a killed process leaves nothing to clean up.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::{major, minor};

use crate::{Error, Result};

/// How long a wait is nothing to talk about.
const SILENT: Duration = Duration::from_secs(1);
/// How often the lock is tried meanwhile.
const AGAIN: Duration = Duration::from_millis(20);
/// The most letters of another process's command line that are shown.
const MOST_SHOWN: usize = 100;

/// A lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock. A wait that is not short is told to `waits`.
    pub(crate) fn exclusive(path: &Path, waits: fn(&str)) -> Result<Self> {
        Self::wait(path, File::try_lock, File::lock, waits)
    }

    /// The same until nobody holds the lock exclusively.
    pub(crate) fn shared(path: &Path, waits: fn(&str)) -> Result<Self> {
        Self::wait(path, File::try_lock_shared, File::lock_shared, waits)
    }

    fn wait(
        path: &Path,
        attempt: fn(&File) -> std::result::Result<(), TryLockError>,
        lock: fn(&File) -> std::io::Result<()>,
        waits: fn(&str),
    ) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(path);
        let file = file.map_err(|e| Error::io("open", path, e))?;
        let began = Instant::now();
        loop {
            match attempt(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if began.elapsed() < SILENT => std::thread::sleep(AGAIN),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
            }
        }
        waits(&message(&file, path));
        lock(&file).map_err(|e| Error::io("lock", path, e))?;
        Ok(Self { _file: file })
    }
}

/// Whom we wait for, as far as it is known, and where.
fn message(file: &File, path: &Path) -> String {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let store = path.parent().unwrap_or(path).display();
    match holder(file, &locks) {
        Some(process) => {
            let runs =
                command_line(process).map_or_else(String::new, |line| format!(", which runs `{line}`"));
            format!("waiting for process {process}{runs}: it has the image store {store}")
        }
        None => format!("waiting for another process that has the image store {store}"),
    }
}

/// The process that holds a lock of this file, by `/proc/locks` (proc_locks(5)). One of another container has no number.
fn holder(file: &File, locks: &str) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let device = metadata.dev();
    let place = format!("{:02x}:{:02x}:{}", major(device), minor(device), metadata.ino());
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; who waits for a lock has `->` before the kind.
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_lock = words.next() == Some("FLOCK");
        let (process, at) = (words.nth(2)?, words.next()?);
        (is_lock && at == place).then(|| process.parse().ok()).flatten()
    })
}

/// What a process runs, fit to be printed.
fn command_line(process: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let line: String = words.join(" ").trim_end().chars().filter(|letter| !letter.is_control()).collect();
    let shown: String = line.chars().take(MOST_SHOWN).collect();
    (!shown.is_empty()).then(|| if shown.len() < line.len() { shown + "…" } else { shown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn told(text: &str) {
        TOLD.lock().unwrap().push(text.to_owned());
    }

    #[test]
    fn a_long_wait_is_told_once_and_for_whom() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pull.lock");
        let lock = Lock::exclusive(&path, told).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| Lock::shared(&path, told).unwrap());
            while TOLD.lock().unwrap().is_empty() {
                assert!(!waits.is_finished(), "the lock was taken");
                std::thread::sleep(AGAIN);
            }
            drop(lock);
        });
        let told = TOLD.lock().unwrap().join("\n");
        // The file system of the tests may have a number of its own in /proc/locks.
        let known = told.starts_with(&format!("waiting for process {}, which runs `", std::process::id()));
        assert!(known || told.starts_with("waiting for another process"), "{told}");
        assert!(told.ends_with(&format!("the image store {}", folder.path().display())), "{told}");
    }

    #[test]
    fn a_short_wait_is_nobodys_business() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.lock");
        static TOLD: AtomicBool = AtomicBool::new(false);
        let lock = Lock::shared(&path, |_| panic!("nobody waits")).unwrap();
        drop(Lock::shared(&path, |_| panic!("readers do not wait for each other")).unwrap());
        let began = Instant::now();
        std::thread::scope(|scope| {
            let told = |_: &str| TOLD.store(true, Ordering::SeqCst);
            scope.spawn(move || drop(Lock::exclusive(&path, told).unwrap()));
            std::thread::sleep(3 * AGAIN);
            drop(lock);
        });
        // Unless a busy host has made it a long one.
        assert!(!TOLD.load(Ordering::SeqCst) || began.elapsed() >= SILENT, "it is short");
    }

    #[test]
    fn the_holder_is_found_among_others() {
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        let place = format!("{:02x}:{:02x}:{}", major(metadata.dev()), minor(metadata.dev()), metadata.ino());
        let locks = format!(
            "1: POSIX  ADVISORY  WRITE 11 {place} 0 EOF\n2: FLOCK  ADVISORY  WRITE 12 00:00:1 0 EOF\n\
             2: -> FLOCK  ADVISORY  WRITE 13 {place} 0 EOF\nnonsense\n3: FLOCK  ADVISORY  READ 14 {place} 0 EOF\n"
        );
        assert_eq!(holder(&file, &locks), Some(14));
        assert_eq!(holder(&file, &format!("1: FLOCK ADVISORY WRITE -1 {place} 0 EOF")), None);
        assert_eq!(holder(&file, ""), None);
    }

    #[test]
    fn what_a_process_runs_is_shown_in_one_line() {
        let mut child = std::process::Command::new("sleep").args(["100"]).spawn().unwrap();
        // It is what we are until it is what it runs.
        let began = Instant::now();
        let mut line = None;
        while line.as_deref() != Some("sleep 100") && began.elapsed() < Duration::from_secs(60) {
            line = command_line(child.id());
        }
        child.kill().unwrap();
        assert_eq!(command_line(u32::MAX), None);
        child.wait().unwrap();
        assert_eq!(line.as_deref(), Some("sleep 100"));
    }
}
