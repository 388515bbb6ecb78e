//! What can go wrong with an image, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::Format;
use super::qcow2::Refused;

/// What can go wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is there, but no file and no block device.
    #[error("{} is {what}; a disk is a file or a block device", path.display())]
    NotADisk {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is too small to be a disk.
    #[error("{} has {len} bytes, less than one sector; make a disk with `ringfence disk create`", path.display())]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
    /// Somebody else has it.
    #[error("{} is in use by another virtual machine or `ringfence disk`; stop that first, or open it read-only in both", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It would be overwritten.
    #[error("{} is there already, and is not overwritten; name another file, or remove it first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A qcow2 header that is not accepted.
    #[error("{} is no qcow2 image that can be used: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Refused,
    },
    /// The image behind an image lies where it must not, or is not there.
    #[error("{} names {name:?} as the image behind it: {reason}", path.display())]
    Backing {
        /// The image that names it.
        path: PathBuf,
        /// The name.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A chain that is too long, or a loop.
    #[error("{} has more than {most} images behind it, or is behind itself; convert it to an image of its own with `ringfence disk convert`", path.display())]
    Chain {
        /// The image at the front.
        path: PathBuf,
        /// How many there may be.
        most: usize,
    },
    /// A format that has no images behind it.
    #[error("a {0} image has no image behind it; use the format qcow2")]
    NoBacking(Format),
    /// A size that no disk has.
    #[error("a disk cannot have {size} bytes: {reason}")]
    Size {
        /// The size asked for.
        size: u64,
        /// Why not.
        reason: &'static str,
    },
    /// It would lose data.
    #[error("{} has {from} bytes and would lose what lies beyond {to}; say so with --shrink if that is meant", path.display())]
    Shrinks {
        /// The image.
        path: PathBuf,
        /// Its size in bytes.
        from: u64,
        /// The size asked for.
        to: u64,
    },
    /// The host failed.
    #[error("{} failed: {source}", doing)]
    Io {
        /// What was done, with the file's name.
        doing: String,
        /// What the host said.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: the host failed at `doing`.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
