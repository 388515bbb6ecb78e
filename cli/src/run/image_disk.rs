//! The disks that a machine has besides those that the user named one by one.

use std::io::Write;
use std::path::PathBuf;

use backend::block::{Backing, Disk, Format, Layer, Look, Options, Source};
use images::{Image, Kept, Store, installed};

use crate::failure::Failure;
use crate::message;

/// Such a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageDisk {
    /// An image's, with a layer over it that goes with the machine.
    Fresh {
        /// The image's, which is only read.
        under: PathBuf,
        /// Where the layer takes its space.
        scratch: PathBuf,
    },
    /// An image's, with a layer over it that is kept.
    Kept {
        /// The image's, which is only read.
        under: PathBuf,
        /// The layer; the first run makes it.
        layer: PathBuf,
    },
    /// What the system is told about itself.
    Seed(Vec<u8>),
}

impl ImageDisk {
    /// The image's, with a layer that goes with the machine.
    pub fn fresh(store: &Store, under: PathBuf) -> Self {
        Self::Fresh { under, scratch: store.root().join("tmp") }
    }

    /// The image's, with the layer of `kept`.
    pub fn kept(store: &Store, kept: &Kept, under: PathBuf) -> Self {
        Self::Kept { under, layer: store.layer_of(kept) }
    }

    /// Opens it.
    ///
    /// # Errors
    /// What is wrong with the disk, the layer or the host.
    pub fn open(&self) -> Result<Disk, Failure> {
        let raw = |path: &PathBuf| Backing { path: path.clone(), format: Format::Raw };
        Ok(match self {
            Self::Fresh { under, scratch } => {
                Layer::Discard(scratch).open(&raw(under), &Options::default())?
            }
            Self::Kept { under, layer } => Layer::Keep(layer).open(&raw(under), &Options::default())?,
            Self::Seed(volume) => {
                let cannot = |error| Failure::host(format!("cannot write the seed's volume: {error}"));
                let mut file = tempfile::NamedTempFile::new().map_err(cannot)?;
                file.write_all(volume).map_err(cannot)?;
                // Once it is open it needs no name.
                Disk::open(&Source::new(file.path(), Format::Raw).read_only(), &Options::default())?
            }
        })
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fresh { .. } | Self::Kept { .. } => "the image's disk",
            Self::Seed(_) => "the seed",
        }
    }
}

/// Lets a system that is kept boot the kernel that it has now, which may be newer than the image's.
pub fn own_kernel(image: &mut Image, layer: PathBuf) {
    let Some(under) = image.disk.clone().filter(|_| layer.exists()) else { return };
    let backing = Some(Backing { path: under, format: Format::Raw });
    let found = Look::at(&Source { backing, ..Source::new(layer, Format::Qcow2) })
        .map_err(|error| error.to_string())
        .and_then(|look| {
            let size = look.size();
            installed::find(look, size).map_err(|error| error.to_string())
        });
    match found {
        Ok(system) => {
            tracing::info!(version = system.version, "booting the system's own kernel");
            image.kernel = system.kernel;
            image.initrd = Some(system.initrd);
        }
        // Whether it is in use is for the machine to say.
        Err(error) => {
            message::note(format_args!("booting the kernel that the system began with: {error}"));
        }
    }
}
