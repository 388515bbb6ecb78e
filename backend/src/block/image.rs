//! An open image: a disk's content, whatever its format and whatever is behind it.
//!
//! All calls take `&self` and may overlap; they are done in any order. Only discarding stands alone: it gives clusters
//! away that a write under way could still aim at.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use imago::io_buffers::{IoVector, IoVectorMut};
use imago::{FormatAccess, ShallowMapping, StorageExt};
use tokio::sync::RwLock;

use super::chain::Link;
use super::file::open_path;
use super::io::Engine;
use super::qcow2::Upkeep;
use super::{Access, Format, HostFile, Result, SECTOR, Source};

/// What takes long is done in pieces of this many bytes, so that others get their turn.
const PIECE: u64 = 16 << 20;

/// An open image.
#[derive(Debug)]
pub struct Image {
    access: RwLock<FormatAccess<HostFile>>,
    engine: Arc<dyn Engine>,
    path: PathBuf,
    format: Format,
    /// In bytes.
    size: u64,
    read_only: bool,
    backed: bool,
    /// For a qcow2 image that is written.
    upkeep: Option<Upkeep>,
    /// Clusters were allocated since the last flush: their data must be durable before the tables that name them are.
    allocated: AtomicBool,
    /// A flush failed: the host may have dropped what it could not write, so no later one can be believed.
    failed: AtomicBool,
}

impl Image {
    /// Opens an image and all that is behind it.
    ///
    /// # Errors
    /// What is wrong with it, or with the host.
    pub fn open(source: &Source, engine: &Arc<dyn Engine>) -> Result<Self> {
        Self::open_to_grow(source, engine, 0)
    }

    /// The same, for an image whose disk is to grow to `size` bytes.
    pub(super) fn open_to_grow(source: &Source, engine: &Arc<dyn Engine>, size: u64) -> Result<Self> {
        let access = if source.read_only { Access::Read } else { Access::Write };
        Self::in_file(open_path(&source.path, access)?, source, engine, size)
    }

    /// The same in a file that is open already; the source's path is for messages, and for what it names behind it.
    ///
    /// # Errors
    /// As above.
    pub fn open_file(file: File, source: &Source, engine: &Arc<dyn Engine>) -> Result<Self> {
        Self::in_file(file, source, engine, 0)
    }

    fn in_file(file: File, source: &Source, engine: &Arc<dyn Engine>, size: u64) -> Result<Self> {
        let access = if source.read_only { Access::Read } else { Access::Write };
        let file = HostFile::new(file, &source.path, access, Arc::clone(engine))?;
        file.allow(size);
        let link = Link::open(file, access, source)?;
        Ok(Self::new(link, source, engine))
    }

    fn new(link: Link, source: &Source, engine: &Arc<dyn Engine>) -> Self {
        Self {
            size: link.access.size(),
            access: RwLock::new(link.access),
            engine: Arc::clone(engine),
            path: source.path.clone(),
            format: source.format,
            read_only: source.read_only,
            backed: link.backed,
            upkeep: link.upkeep,
            allocated: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// The size of the disk in bytes: whole sectors.
    pub fn size(&self) -> u64 {
        self.size - self.size % SECTOR
    }

    /// Nothing is written.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// There is an image behind it.
    pub fn is_backed(&self) -> bool {
        self.backed
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What moves its bytes.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Reads at an offset in bytes.
    ///
    /// # Errors
    /// The host's, or what is wrong with the image's tables.
    pub async fn read(&self, into: IoVectorMut<'_>, at: u64) -> io::Result<()> {
        self.access.read().await.readv(into, at).await
    }

    /// Writes at an offset in bytes.
    ///
    /// # Errors
    /// As above; also where it would go beyond the disk's end.
    pub async fn write(&self, from: IoVector<'_>, at: u64) -> io::Result<()> {
        let access = self.access.read().await;
        if self.format == Format::Raw || mapped(&access, at, from.len()).await? {
            return access.writev(from, at).await;
        }
        // Before, because the tables may be written as soon as the data is; after, because a flush in between
        // took note of the one before.
        self.allocated.store(true, Ordering::SeqCst);
        let result = access.writev(from, at).await;
        self.allocated.store(true, Ordering::SeqCst);
        result
    }

    /// Makes everything durable that was written before.
    ///
    /// # Errors
    /// The host's. After one, all flushes fail.
    pub async fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        if self.failed.load(Ordering::SeqCst) {
            return Err(io::Error::other("an earlier flush failed"));
        }
        let result = match self.write_tables().await {
            Ok(()) => self.access.read().await.sync().await,
            error => error,
        };
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }

    /// Writes what the library has of tables in memory: alone, for a table that changes meanwhile could reach the file
    /// before the counts that it needs.
    async fn write_tables(&self) -> io::Result<()> {
        if self.format == Format::Raw {
            return Ok(());
        }
        let access = self.access.write().await;
        if self.allocated.swap(false, Ordering::SeqCst) {
            access.sync().await?;
        }
        access.flush().await?;
        self.upkeep.as_ref().map_or(Ok(()), Upkeep::flushed)
    }

    /// Zeroes a range, and with `unmap` gives its space back where that is possible.
    ///
    /// # Errors
    /// As for writing.
    pub async fn zero(&self, at: u64, len: u64, unmap: bool) -> io::Result<()> {
        for (at, len) in pieces(at, len) {
            let result = match unmap {
                true => self.access.write().await.discard_to_zero(at, len).await,
                false => self.zero_in_place(at, len).await,
            };
            match result {
                // Version 2 of qcow2 knows no zero clusters.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    let zeroes = vec![0; len as usize];
                    self.write((&*zeroes).into(), at).await?;
                }
                result => result?,
            }
        }
        Ok(())
    }

    async fn zero_in_place(&self, at: u64, len: u64) -> io::Result<()> {
        let access = self.access.read().await;
        match self.format {
            // The library would punch a hole.
            Format::Raw => {
                let (file, at, _) = access.ensure_data_mapping(at, len, true).await?;
                file.write_allocated_zeroes(at, len).await
            }
            Format::Qcow2 => access.write_zeroes(at, len).await,
        }
    }

    /// The contents of a range matter no longer.
    ///
    /// # Errors
    /// The host's.
    pub async fn discard(&self, at: u64, len: u64) -> io::Result<()> {
        for (at, len) in pieces(at, len) {
            match self.access.write().await.discard_to_any(at, len).await {
                // It is a hint.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
                result => result?,
            }
        }
        Ok(())
    }

    /// How many bytes from `at`, up to `len`, are known to be zero without reading them; or, as `Err`, how many are not.
    pub(super) async fn zeroes(&self, at: u64, len: u64) -> io::Result<std::result::Result<u64, u64>> {
        let access = self.access.read().await;
        let (mapping, len) = access.get_mapping(at, len).await?;
        Ok(match mapping {
            imago::Mapping::Zero { .. } | imago::Mapping::Eof { .. } => Ok(len),
            _ => Err(len),
        })
    }

    /// Changes the size of the disk. Only for an image that nobody else uses.
    pub(super) async fn resize(&mut self, size: u64, zero: bool) -> io::Result<()> {
        let mode = match zero {
            true => imago::format::PreallocateMode::Zero,
            false => imago::format::PreallocateMode::None,
        };
        self.access.get_mut().resize(size, mode).await?;
        self.size = size;
        Ok(())
    }

    /// Writes everything out and closes the image. An image that is dropped instead is counted again when it is next
    /// opened, and what was flushed is there.
    ///
    /// # Errors
    /// The host's.
    pub async fn close(self) -> io::Result<()> {
        self.flush().await?;
        self.upkeep.map_or(Ok(()), Upkeep::end)
    }
}

/// Is the whole range in clusters that are written in place?
async fn mapped(access: &FormatAccess<HostFile>, mut at: u64, mut len: u64) -> io::Result<bool> {
    while len > 0 {
        match access.get_shallow_mapping(at, len).await? {
            (ShallowMapping::Raw { writable: true, .. }, count) if count > 0 => {
                (at, len) = (at + count, len - count);
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// A range in pieces.
fn pieces(at: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..len).step_by(PIECE as usize).map(move |done| (at + done, PIECE.min(len - done)))
}
