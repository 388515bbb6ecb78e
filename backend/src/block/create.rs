//! Making an image.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imago::qcow2::{Qcow2, Qcow2CreateBuilder};
use imago::storage::PreallocateMode;
use imago::{FormatCreateBuilder, Storage};
use tempfile::NamedTempFile;

use super::io::{Engine, Inline, block_on};
use super::{Access, Backing, Error, Format, HostFile, Image, Result, SECTOR, Source};

/// The largest disk: 64 TiB.
const LARGEST: u64 = 64 << 40;

/// An image to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// The file; it must not be there.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The disk's size in bytes; that of the image behind it unless given.
    pub size: Option<u64>,
    /// The image behind it; only for qcow2. Its path is taken as seen from the new image's directory.
    pub backing: Option<Backing>,
}

/// Makes an image. It appears whole or not at all. Gives the size of its disk in bytes.
///
/// # Errors
/// What is wrong with the order, or the host.
pub fn create(order: &Create) -> Result<u64> {
    let engine: Arc<dyn Engine> = Arc::new(Inline);
    let (file, size) = draft(order, &engine)?;
    publish(file, &order.path)?;
    Ok(size)
}

/// The image as a temporary file beside the one it is to be, and the size of its disk.
pub(super) fn draft(order: &Create, engine: &Arc<dyn Engine>) -> Result<(NamedTempFile, u64)> {
    if order.path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: order.path.clone() });
    }
    let behind = match &order.backing {
        Some(_) if order.format == Format::Raw => return Err(Error::NoBacking(Format::Raw)),
        Some(backing) => Some(behind(&order.path, backing, engine)?),
        None => None,
    };
    let size = order.size.or(behind).ok_or(Error::Size { size: 0, reason: "say its size" })?;
    check_size(size)?;
    let draft = begin(&order.path)?;
    fill(&draft, order.format, size, order.backing.as_ref(), engine)?;
    Ok((draft, size))
}

/// An empty file beside the one it is to be.
fn begin(path: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // As for any new file: what the umask leaves.
    builder.prefix(".ringfence-").permissions(Permissions::from_mode(0o666));
    builder.tempfile_in(directory(path)).map_err(Error::io(format!("making {}", path.display())))
}

/// Makes a layer over `under`, whose path is written as it is. Unlike [`create`]'s, whoever opens it names what is
/// under it.
pub(super) fn layer(path: &Path, size: u64, under: &Backing, engine: &Arc<dyn Engine>) -> Result<()> {
    let draft = begin(path)?;
    fill(&draft, Format::Qcow2, size, Some(under), engine)?;
    publish(draft, path)
}

fn fill(
    draft: &NamedTempFile,
    format: Format,
    size: u64,
    backing: Option<&Backing>,
    engine: &Arc<dyn Engine>,
) -> Result<()> {
    let file = draft.as_file().try_clone();
    let file = file.map_err(Error::io(format!("making {}", draft.path().display())))?;
    write(file, format, size, backing, draft.path(), engine)
}

/// Makes an empty image in an empty file; `path` is for messages.
pub(super) fn write(
    file: File,
    format: Format,
    size: u64,
    backing: Option<&Backing>,
    path: &Path,
    engine: &Arc<dyn Engine>,
) -> Result<()> {
    let doing = || Error::io(format!("making {}", path.display()));
    let file = HostFile::new(file, path, Access::Write, Arc::clone(engine))?;
    file.allow(size.saturating_add(size / 16).saturating_add(64 << 20));
    match format {
        Format::Raw => block_on(&**engine, file.resize(size, PreallocateMode::None)).map_err(doing()),
        Format::Qcow2 => {
            let mut builder: Qcow2CreateBuilder<HostFile> = Qcow2::create_builder(file).size(size);
            if let Some(backing) = backing {
                let name = backing.path.to_string_lossy().into_owned();
                builder = builder.backing(name, backing.format.name().to_owned());
            }
            block_on(&**engine, builder.create()).map_err(doing())
        }
    }
}

/// Gives a draft its name, durably.
pub(super) fn publish(draft: NamedTempFile, path: &Path) -> Result<()> {
    let doing = || Error::io(format!("making {}", path.display()));
    draft.as_file().sync_all().map_err(doing())?;
    draft.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => doing()(error.error),
    })?;
    // The name itself. Some file systems sync no directories, and they need not.
    let _ = File::open(directory(path)).and_then(|directory| directory.sync_all());
    Ok(())
}

pub(super) fn check_size(size: u64) -> Result<()> {
    let reason = match size {
        0 => "it would be empty",
        _ if !size.is_multiple_of(SECTOR) => "it must be a multiple of 512",
        _ if size > LARGEST => "64 TiB is the most",
        _ => return Ok(()),
    };
    Err(Error::Size { size, reason })
}

/// The size of the disk of the image that is to be behind the one at `path`, found as it will be found there.
fn behind(path: &Path, backing: &Backing, engine: &Arc<dyn Engine>) -> Result<u64> {
    let name = backing.path.to_str().ok_or_else(|| Error::Backing {
        path: path.to_owned(),
        name: backing.path.display().to_string(),
        reason: "the name of an image behind another must be UTF-8".to_owned(),
    })?;
    let (_, found, _) = super::reach::Reach::of(path)?.open(path, name)?;
    let image = Image::open(&Source::new(found, backing.format).read_only(), engine)?;
    Ok(image.size())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
