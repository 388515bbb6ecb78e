//! The disk of an installed system: the image's own is only read, and what the guest writes goes into a layer over it.

use std::path::PathBuf;

use backend::block::{Backing, Disk, Format, Layer, Options};
use images::Store;

use crate::failure::Failure;

/// An image's disk, and where its layer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDisk {
    /// The image's.
    under: PathBuf,
    /// Where a layer without a name takes its space.
    scratch: PathBuf,
}

impl ImageDisk {
    /// The disk in the file `under` of the store.
    ///
    /// # Errors
    /// Where there is no store.
    pub fn new(under: PathBuf) -> Result<Self, Failure> {
        Ok(Self { under, scratch: Store::default_root()?.join("tmp") })
    }

    /// Opens it.
    ///
    /// # Errors
    /// What is wrong with the disk, the layer or the host.
    pub fn open(&self) -> Result<Disk, Failure> {
        let under = Backing { path: self.under.clone(), format: Format::Raw };
        Ok(Layer::Discard(&self.scratch).open(&under, &Options::default())?)
    }
}
