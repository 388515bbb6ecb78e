//! Layers: a guest writes to one, and the image under it stays as it is.
//!
//! A layer is a qcow2 image whose backing image is named from outside each time it is opened: it may lie anywhere, and
//! what the layer's own header says of it is for other tools, and to tell that it is still the same: over another
//! image, or another version of it, a layer is garbage. Thrown away, it never had a name: the kernel frees
//! it with the process, however that ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Options;
use super::io::Engine;
use super::{Backing, Disk, Error, Format, Image, Result, Source, create, info};

/// What becomes of what a guest writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer<'a> {
    /// It goes when the disk is dropped; until then it takes space in this directory.
    Discard(&'a Path),
    /// It stays in this file, which is made if it is not there.
    Keep(&'a Path),
}

impl Layer<'_> {
    /// A disk that begins as the image `under`, which is only read.
    ///
    /// # Errors
    /// What is wrong with the image, the layer or the host.
    pub fn open(self, under: &Backing, options: &Options) -> Result<Disk> {
        match self {
            Self::Discard(directory) => Disk::serve(options, |engine| throw_away(under, directory, engine)),
            Self::Keep(path) => {
                match path.symlink_metadata() {
                    Ok(_) => is_over(path, under)?,
                    Err(_) => make(under, path)?,
                }
                let source = Source { backing: Some(under.clone()), ..Source::new(path, Format::Qcow2) };
                Disk::open(&source, options)
            }
        }
    }
}

fn size_of(under: &Backing, engine: &Arc<dyn Engine>) -> Result<u64> {
    Ok(Image::open(&Source::new(&under.path, under.format).read_only(), engine)?.size())
}

/// The path by which a layer remembers the image under it.
fn absolute(under: &Backing) -> Result<PathBuf> {
    under.path.canonicalize().map_err(|source| Error::Open { path: under.path.clone(), source })
}

fn make(under: &Backing, path: &Path) -> Result<()> {
    let engine: Arc<dyn Engine> = Arc::new(super::io::Inline);
    let size = size_of(under, &engine)?;
    create::layer(path, size, &Backing { path: absolute(under)?, format: under.format }, &engine)
}

/// A layer that is there was made over this image and no other.
fn is_over(path: &Path, under: &Backing) -> Result<()> {
    let (now, made) = (absolute(under)?, info(path, Format::Qcow2)?.backing);
    let name = made.as_ref().map_or(String::new(), |made| made.name.clone());
    if made.is_some_and(|made| Path::new(&made.name) == now && made.format == under.format) {
        return Ok(());
    }
    let reason = format!("it is no layer over {}; keep this one under another name", now.display());
    Err(Error::Backing { path: path.to_owned(), name, reason })
}

fn throw_away(under: &Backing, directory: &Path, engine: &Arc<dyn Engine>) -> Result<Image> {
    let doing = || Error::io(format!("making a layer in {}", directory.display()));
    let size = size_of(under, engine)?;
    let file = tempfile::tempfile_in(directory).map_err(doing())?;
    let path = directory.join("a layer without a name");
    let copy = file.try_clone().map_err(doing())?;
    create::write(copy, Format::Qcow2, size, None, &path, engine)?;
    let source = Source { backing: Some(under.clone()), ..Source::new(&path, Format::Qcow2) };
    Image::open_file(file, &source, engine)
}
