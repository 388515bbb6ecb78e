//! An image in hand.

use std::path::PathBuf;

use crate::Manifest;

/// An image's bytes, read from the store and checked against their digests.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the store knows about it.
    pub manifest: Manifest,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initial RAM disk, if there is one: an uncompressed newc archive.
    pub initrd: Option<Vec<u8>>,
    /// The file of its disk, if it has one: a raw image, which nobody writes to. Its bytes are not checked.
    pub disk: Option<PathBuf>,
}
