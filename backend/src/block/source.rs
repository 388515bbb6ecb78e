//! Which image, and how: what the command line says of a disk.

use std::path::{Path, PathBuf};

use super::Format;

/// An image to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its file, or a block device.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Nothing is written to it.
    pub read_only: bool,
    /// The image behind it, instead of the one that it names: then it may lie anywhere.
    pub backing: Option<Backing>,
}

/// An image behind another, as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    /// Its file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
}

impl Source {
    /// An image that is written to, with what it names behind it.
    pub fn new(path: impl AsRef<Path>, format: Format) -> Self {
        Self { path: path.as_ref().to_owned(), format, read_only: false, backing: None }
    }

    /// The same, only to be read.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }
}
