//! Why a directory cannot be shared.

use std::io;
use std::path::PathBuf;

/// What went wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such directory, or it may not be entered.
    #[error("cannot share {}: {source}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// The kernel cannot keep a path below a directory.
    #[error(
        "sharing a directory takes Linux 5.6 or later on the host (openat2), and nothing that forbids it"
    )]
    TooOld,
    /// Files cannot be opened by their descriptors.
    #[error("sharing a directory takes /proc on the host: {0}")]
    NoProc(io::Error),
    /// The host has no thread or descriptor left.
    #[error("cannot serve a shared directory: {0}")]
    Host(io::Error),
}
