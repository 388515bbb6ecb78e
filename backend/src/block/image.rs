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
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, ShallowMapping, StorageExt};
use tokio::sync::RwLock;

use super::file::open_path;
use super::io::{Engine, block_on};
use super::qcow2::{Header, Order, rebuild, set_dirty, vet};
use super::reach::{Identity, Reach};
use super::{Access, Backing, Error, Format, HostFile, Result, SECTOR, Source};

/// The most images behind one another.
const MOST_LAYERS: usize = 16;
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
    /// The file whose dirty bit is up.
    dirty: Option<File>,
    backed: bool,
    /// What holds writes of its tables back, and the file they go to.
    order: Option<(Arc<Order>, File)>,
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
        let layer = match source.format {
            Format::Raw if source.backing.is_some() => return Err(Error::NoBacking(Format::Raw)),
            Format::Raw => open_raw(file, access)?,
            Format::Qcow2 => {
                let mut behind = Behind::of(&source.path, file.file())?;
                open_qcow2(file, access, source.backing.as_ref(), &mut behind)?
            }
        };
        Ok(Self::new(layer, source, engine))
    }

    fn new(layer: Layer, source: &Source, engine: &Arc<dyn Engine>) -> Self {
        Self {
            size: layer.access.size(),
            access: RwLock::new(layer.access),
            engine: Arc::clone(engine),
            path: source.path.clone(),
            format: source.format,
            read_only: source.read_only,
            dirty: layer.dirty,
            backed: layer.backed,
            order: layer.order,
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
        match &self.order {
            Some((order, file)) => order.settle(file),
            None => Ok(()),
        }
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
        match &self.dirty {
            Some(file) => set_dirty(file, false),
            None => Ok(()),
        }
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

/// One image of a chain.
struct Layer {
    access: FormatAccess<HostFile>,
    dirty: Option<File>,
    backed: bool,
    order: Option<(Arc<Order>, File)>,
}

fn open_raw(file: HostFile, access: Access) -> Result<Layer> {
    if file.len() < SECTOR {
        return Err(Error::TooSmall { path: file.path().to_owned(), len: file.len() });
    }
    let (doing, engine) = (format!("opening {}", file.path().display()), Arc::clone(file.engine()));
    let raw = block_on(&*engine, Raw::open_image(file, access == Access::Write)).map_err(Error::io(doing))?;
    Ok(Layer { access: FormatAccess::new(raw), dirty: None, backed: false, order: None })
}

/// What is behind an image: how far it reaches, and what came before it.
struct Behind {
    front: PathBuf,
    reach: Reach,
    seen: Vec<Identity>,
}

impl Behind {
    fn of(path: &Path, file: &File) -> Result<Self> {
        let mut behind = Self { front: path.to_owned(), reach: Reach::of(path)?, seen: Vec::new() };
        behind.meet(file)?;
        Ok(behind)
    }

    /// Notes a file of the chain, which must not be in it yet.
    fn meet(&mut self, file: &File) -> Result<()> {
        let identity = Identity::of(file).map_err(Error::io(format!("reading {}", self.front.display())))?;
        if self.seen.contains(&identity) || self.seen.len() > MOST_LAYERS {
            return Err(Error::Chain { path: self.front.clone(), most: MOST_LAYERS });
        }
        self.seen.push(identity);
        Ok(())
    }
}

fn open_qcow2(
    mut file: HostFile,
    access: Access,
    named: Option<&Backing>,
    behind: &mut Behind,
) -> Result<Layer> {
    let path = file.path().to_owned();
    let refused = |reason| Error::Refused { path: path.clone(), reason };
    let host = || Error::io(format!("reading {}", path.display()));
    let mut header = Header::read(file.file(), file.len()).map_err(host())?.map_err(refused)?;
    let mut order = None;
    if access == Access::Write {
        if header.snapshots > 0 {
            return Err(refused(super::qcow2::Refused::Snapshots));
        }
        if header.dirty {
            count_again(&file, &header)?;
            header = Header::read(file.file(), file.len()).map_err(host())?.map_err(refused)?;
        }
        vet(file.file(), &header, file.len()).map_err(host())?.map_err(refused)?;
        file.allow(header.most(file.len()));
        let keeper = Arc::new(Order::new(file.file(), &header).map_err(host())?);
        file.keep(Arc::clone(&keeper));
        order = Some((keeper, file.file().try_clone().map_err(host())?));
    }
    let backing = open_backing(&file, &header, named, behind)?;
    let backed = backing.is_some();
    let dirty = match (access, header.version) {
        (Access::Write, 3) => Some(file.file().try_clone().map_err(host())?),
        _ => None,
    };
    file.hide_dirty();
    let engine = Arc::clone(file.engine());
    let builder =
        Qcow2::<HostFile>::builder(file).write(access == Access::Write).backing(backing).data_file(None);
    let qcow2 = block_on(&*engine, builder.open(DenyImplicitOpenGate::default())).map_err(host())?;
    if let Some(file) = &dirty {
        set_dirty(file, true).map_err(Error::io(format!("writing {}", path.display())))?;
    }
    Ok(Layer { access: FormatAccess::new(qcow2), dirty, backed, order })
}

/// Puts the counts right of an image that was not closed.
fn count_again(file: &HostFile, header: &Header) -> Result<()> {
    let path = || file.path().to_owned();
    let host = || Error::io(format!("counting the clusters of {} again", file.path().display()));
    let counted = rebuild(file.file(), header, file.len())
        .map_err(host())?
        .map_err(|reason| Error::Refused { path: path(), reason })?;
    file.resized(file.file().metadata().map_err(host())?.len());
    tracing::info!("{} was not closed; counted {} clusters again", file.path().display(), counted.used);
    Ok(())
}

/// Opens the image behind one, for reading: the one the user named, or else the one the header names.
fn open_backing(
    front: &HostFile,
    header: &Header,
    named: Option<&Backing>,
    behind: &mut Behind,
) -> Result<Option<FormatAccess<HostFile>>> {
    let (file, path, format) = match (named, &header.backing) {
        (None, None) => return Ok(None),
        (Some(named), _) => {
            behind.reach = Reach::of(&named.path)?;
            (open_path(&named.path, Access::Read)?, named.path.clone(), named.format)
        }
        (None, Some(backing)) => {
            let (file, path, below) = behind.reach.open(front.path(), &backing.name)?;
            behind.reach = below;
            (file, path, backing.format)
        }
    };
    behind.meet(&file)?;
    let file = HostFile::new(file, &path, Access::Read, Arc::clone(front.engine()))?;
    let layer = match format {
        Format::Raw => open_raw(file, Access::Read)?,
        Format::Qcow2 => open_qcow2(file, Access::Read, None, behind)?,
    };
    Ok(Some(layer.access))
}
