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

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::progress::{Amount, Progress};
use crate::{Error, Result};

/// A lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| Error::io("open", path, e))
}

impl Lock {
    /// Waits until nobody else holds the lock.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock().map_err(|e| Error::io("lock", path, e))?;
        Ok(Self { _file: file })
    }

    /// Waits until nobody holds the lock exclusively.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock_shared().map_err(|e| Error::io("lock", path, e))?;
        Ok(Self { _file: file })
    }

    /// As [`Lock::exclusive`]; a wait is reported as a task of its own.
    pub(crate) fn exclusive_reporting(path: &Path, progress: &mut dyn Progress) -> Result<Self> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.start("waiting for another ringfence to finish its pull", Amount::Unknown);
                file.lock().map_err(|e| Error::io("lock", path, e))?;
                progress.finish();
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
        }
        Ok(Self { _file: file })
    }
}
