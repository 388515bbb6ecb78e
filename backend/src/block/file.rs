//! One file or block device of the host, as the format library's storage.
//!
//! It is locked as long as it is open: one writer, or any number of readers (`flock`; others who heed no locks are not
//! kept out). It reads as zero beyond its end and grows when it is written there, but never beyond
//! [`HostFile::allow`]: an image that names offsets it cannot need gets an error, not the host's disk.

#![allow(unsafe_code)] // the library's trait is unsafe; memory is kept as `io::run` asks

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use imago::{Storage, StorageExt};

use super::io::{Engine, Iovecs, Op, run};
use super::qcow2::Order;
use super::{Error, Result};

/// Zeroes are written in pieces of this many bytes where the host cannot make them itself.
const ZEROES: usize = 1 << 20;
/// The byte of a qcow2 header whose bit 0 is the dirty bit.
const DIRTY_AT: u64 = 79;
/// The library reads the header in small pieces; of a longer read, this much holds the byte.
const MOST_HEADER: u64 = 4096;

/// How long to wait for a lock: the kernel lets go of a killed process's ring, and what it was writing, a moment after
/// the process is gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading, beside other readers.
    Read,
    /// Reading and writing, alone.
    Write,
}

/// A file, its lock and the engine that moves its bytes.
#[derive(Debug)]
pub struct HostFile {
    file: File,
    /// For messages.
    path: PathBuf,
    size: AtomicU64,
    /// It grows up to here.
    most: AtomicU64,
    /// The library sees qcow2's dirty bit down.
    hide_dirty: bool,
    /// What holds writes of its tables back.
    order: Option<Arc<Order>>,
    engine: Arc<dyn Engine>,
    helper: CommonStorageHelper,
}

/// Opens a path that the user gave. Nothing is created.
pub(super) fn open_path(path: &Path, access: Access) -> Result<File> {
    let mut options = OpenOptions::new();
    // A FIFO would wait for its other end.
    options.read(true).write(access == Access::Write).custom_flags(libc::O_NONBLOCK);
    options.open(path).map_err(|source| Error::Open { path: path.to_owned(), source })
}

impl HostFile {
    /// Takes a file into use: checks what it is and locks it.
    ///
    /// # Errors
    /// [`Error::NotADisk`], [`Error::InUse`], or the host's.
    pub fn new(file: File, path: &Path, access: Access, engine: Arc<dyn Engine>) -> Result<Self> {
        let file = Self::unlocked(file, path, engine)?;
        lock(&file.file, path, access)?;
        Ok(file)
    }

    /// The same for a look at it, which asks for no lock.
    pub(super) fn unlocked(file: File, path: &Path, engine: Arc<dyn Engine>) -> Result<Self> {
        let metadata = file.metadata().map_err(Error::io(format!("asking what {} is", path.display())))?;
        let kind = metadata.file_type();
        let what = match () {
            () if kind.is_file() || kind.is_block_device() => None,
            () if kind.is_dir() => Some("a directory"),
            () if kind.is_fifo() => Some("a pipe"),
            () if kind.is_socket() => Some("a socket"),
            () => Some("a character device"),
        };
        if let Some(what) = what {
            return Err(Error::NotADisk { path: path.to_owned(), what });
        }
        // A block device's length is where its end is.
        let size = match kind.is_file() {
            true => metadata.len(),
            false => io::Seek::seek(&mut &file, io::SeekFrom::End(0))
                .map_err(Error::io(format!("asking how large {} is", path.display())))?,
        };
        let (size, most) = (AtomicU64::new(size), AtomicU64::new(size));
        let helper = CommonStorageHelper::default();
        Ok(Self { file, path: path.to_owned(), size, most, hide_dirty: false, order: None, engine, helper })
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its name, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Nothing in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What moves its bytes.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// It may grow up to `most` bytes.
    pub fn allow(&self, most: u64) {
        self.most.fetch_max(most, Ordering::Relaxed);
    }

    /// Shows the library qcow2's dirty bit down. It refuses such images even for reading, which counts have no part in;
    /// and before writing we have counted.
    pub(super) fn hide_dirty(&mut self) {
        self.hide_dirty = true;
    }

    /// Lets `order` hold writes back.
    pub(super) fn keep(&mut self, order: Arc<Order>) {
        self.order = Some(order);
    }

    /// It was changed behind this value's back, which `size` is now its length.
    pub(super) fn resized(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// The end of a range, if the file may reach that far.
    fn end(&self, offset: u64, len: u64) -> io::Result<u64> {
        offset.checked_add(len).filter(|end| *end <= self.most.load(Ordering::Relaxed)).ok_or_else(|| {
            let text = format!("{} names offset {offset:#x}, which it cannot need", self.path.display());
            io::Error::new(io::ErrorKind::FileTooLarge, text)
        })
    }

    /// Does an operation, again if the kernel was interrupted.
    ///
    /// # Safety
    /// As [`run`]: the memory stays valid as long as the future.
    async unsafe fn perform(&self, op: impl Fn(i32) -> Op) -> io::Result<usize> {
        loop {
            // SAFETY: the descriptor is open as long as `self`, which the future borrows; memory as the caller promises.
            match unsafe { run(&*self.engine, op(self.file.as_raw_fd())) }.await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// `fallocate(2)` on a range. False where the file system cannot.
    async fn allocate(&self, mode: libc::c_int, offset: u64, len: u64) -> io::Result<bool> {
        // SAFETY: no memory takes part.
        match unsafe { self.perform(|fd| Op::Allocate(fd, mode, offset, len)) }.await {
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV | libc::EINVAL) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Zeroes by writing them.
    async fn write_zero_bytes(&self, mut offset: u64, mut len: u64) -> io::Result<()> {
        let zeroes = vec![0; (ZEROES as u64).min(len) as usize];
        while len > 0 {
            let piece = len.min(zeroes.len() as u64);
            // SAFETY: buffered files have no alignment, and the library guards the whole range against other writers.
            unsafe { self.pure_writev((&zeroes[..piece as usize]).into(), offset) }.await?;
            (offset, len) = (offset + piece, len - piece);
        }
        Ok(())
    }

    /// Zeroes a range by the first `mode` of `fallocate` that the file system knows, or by writing.
    async fn zero(&self, modes: &[libc::c_int], offset: u64, len: u64) -> io::Result<()> {
        let end = self.end(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        for mode in modes {
            if self.allocate(mode | libc::FALLOC_FL_KEEP_SIZE, offset, len).await? {
                if end > self.len() {
                    // Growing by a write cannot cut off what others write meanwhile.
                    // SAFETY: as in `write_zero_bytes`.
                    unsafe { self.pure_writev((&[0u8][..]).into(), end - 1) }.await?;
                }
                return Ok(());
            }
        }
        self.write_zero_bytes(offset, len).await
    }
}

impl Drop for HostFile {
    /// The lock belongs to the open file, of which a process that is just being started may hold a copy for a moment.
    fn drop(&mut self) {
        // Without a lock there is none to be released.
        let _ = self.file.unlock();
    }
}

fn lock(file: &File, path: &Path, access: Access) -> Result<()> {
    let attempt = || match access {
        Access::Read => file.try_lock_shared(),
        Access::Write => file.try_lock(),
    };
    let began = Instant::now();
    let mut locked = attempt();
    while matches!(locked, Err(TryLockError::WouldBlock)) && began.elapsed() < PATIENCE {
        std::thread::sleep(PATIENCE / 100);
        locked = attempt();
    }
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => match error.kind() {
            // A file system without locks is no reason to refuse its files.
            io::ErrorKind::Unsupported => Ok(()),
            _ => Err(Error::io(format!("locking {}", path.display()))(error)),
        },
    }
}

impl fmt::Display for HostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Storage for HostFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len())
    }

    async unsafe fn pure_readv(&self, mut bufv: IoVectorMut<'_>, mut offset: u64) -> io::Result<()> {
        if self.hide_dirty && (offset..offset.saturating_add(bufv.len())).contains(&DIRTY_AT) {
            let mut bytes = vec![0; bufv.len().min(MOST_HEADER) as usize];
            self.file.read_exact_at(&mut bytes, offset)?;
            bytes[(DIRTY_AT - offset) as usize] &= !1;
            let (mut head, tail) = bufv.split_at(bytes.len() as u64);
            head.copy_from_slice(&bytes);
            (bufv, offset) = (tail, offset + bytes.len() as u64);
        }
        while !bufv.is_empty() {
            // SAFETY: `bufv` holds the memory until the operation is done, here or in `drop`.
            let done =
                unsafe { self.perform(|fd| Op::Read(fd, offset, Iovecs::first_of(bufv.as_iovec()))).await? };
            if done == 0 {
                bufv.fill(0);
                break;
            }
            bufv = bufv.split_tail_at(done as u64);
            offset += done as u64;
        }
        Ok(())
    }

    async unsafe fn pure_writev(&self, mut bufv: IoVector<'_>, mut offset: u64) -> io::Result<()> {
        self.end(offset, bufv.len())?;
        if let Some(order) = &self.order {
            let bytes = || {
                let mut bytes = vec![0; bufv.len() as usize];
                bufv.copy_into_slice(&mut bytes);
                bytes
            };
            if order.holds(&self.file, offset, bytes)? {
                return Ok(());
            }
        }
        while !bufv.is_empty() {
            // SAFETY: as above.
            let done =
                unsafe { self.perform(|fd| Op::Write(fd, offset, Iovecs::first_of(bufv.as_iovec()))).await? };
            if done == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bufv = bufv.split_tail_at(done as u64);
            offset += done as u64;
            self.size.fetch_max(offset, Ordering::Relaxed);
        }
        Ok(())
    }

    async unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(&[libc::FALLOC_FL_PUNCH_HOLE, libc::FALLOC_FL_ZERO_RANGE], offset, length).await
    }

    async unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.zero(&[libc::FALLOC_FL_ZERO_RANGE], offset, length).await
    }

    async unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if length > 0 {
            self.allocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, length).await?;
        }
        Ok(())
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        // SAFETY: no memory takes part.
        unsafe { self.perform(Op::Sync) }.await.map(drop)
    }

    async fn settle_writes(&self) -> io::Result<()> {
        // Nothing is under way for a future that is gone: see `io::run`.
        Ok(())
    }

    async unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }

    async fn resize(&self, new_size: u64, mode: PreallocateMode) -> io::Result<()> {
        let old = self.len();
        self.end(new_size, 0)?;
        self.file.set_len(new_size)?;
        self.size.store(new_size, Ordering::Relaxed);
        match mode {
            PreallocateMode::None | PreallocateMode::Zero => Ok(()),
            _ if new_size <= old => Ok(()),
            _ => self.write_allocated_zeroes(old, new_size - old).await,
        }
    }
}
