//! What there is to know of an image, without opening what is behind it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::open_path;
use super::io::Inline;
use super::qcow2::{BackingName, Header};
use super::{Access, Error, Format, HostFile, Result, SECTOR};

/// What there is to know of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its file.
    pub path: PathBuf,
    /// Its format, as the user says.
    pub format: Format,
    /// The size of its disk in bytes.
    pub size: u64,
    /// The length of its file in bytes.
    pub file: u64,
    /// What its file takes of the host's disk, in bytes.
    pub allocated: u64,
    /// Bytes of a cluster, for qcow2.
    pub cluster: Option<u64>,
    /// The image it says is behind it.
    pub backing: Option<BackingName>,
    /// It was open for writing and not closed: it is counted again when it is next opened.
    pub dirty: bool,
    /// How many snapshots it has.
    pub snapshots: u32,
}

/// Reads what there is to know of an image.
///
/// # Errors
/// What is wrong with it, or with the host.
pub fn info(path: &Path, format: Format) -> Result<Info> {
    let file = open_path(path, Access::Read)?;
    let file = HostFile::unlocked(file, path, Arc::new(Inline))?;
    let doing = || Error::io(format!("reading {}", path.display()));
    let metadata = file.file().metadata().map_err(doing())?;
    let mut info = Info {
        path: path.to_owned(),
        format,
        size: file.len() - file.len() % SECTOR,
        file: file.len(),
        allocated: metadata.blocks() * 512,
        cluster: None,
        backing: None,
        dirty: false,
        snapshots: 0,
    };
    if format == Format::Qcow2 {
        let header = Header::read(file.file(), file.len())
            .map_err(doing())?
            .map_err(|reason| Error::Refused { path: path.to_owned(), reason })?;
        info.size = header.size;
        info.cluster = Some(header.cluster());
        info.dirty = header.dirty;
        info.snapshots = header.snapshots;
        info.backing = header.backing;
    }
    Ok(info)
}
