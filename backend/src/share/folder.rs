//! What the messages do: each of FUSE's operations on files below the directory.
//!
//! Where a directory may only be read, everything that changes something says so first thing ([`Folder::writable`]), and
//! nothing is opened for writing; the kernel would refuse the rest.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuse_backend_rs::abi::fuse_abi::{CreateIn, stat64};
use fuse_backend_rs::api::filesystem::{
    Context, DirEntry, Entry, FileSystem, FsOptions, OpenOptions, SetattrValid, ZeroCopyReader,
    ZeroCopyWriter,
};
use rustix::fs::{self, AtFlags, FallocateFlags, FileType, OFlags, RawDir, RenameFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::attributes::{self, BELIEF, Owner};
use super::beneath::{Name, Root, io, link, reopen, via_proc};
use super::handles::{Handle, Handles, HandlesState};
use super::nodes::{Nodes, NodesState};

/// Bytes of entries that are read from a directory at a time.
const LISTING: usize = 32 << 10;

/// The directory, and what the guest knows of it.
#[derive(Debug)]
pub struct Folder {
    root: Root,
    read_only: bool,
    owner: Owner,
    pub nodes: Mutex<Nodes>,
    pub handles: Mutex<Handles>,
}

/// Nothing panics while it holds one.
pub fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that the guest means: by its place, or one it has open that has none any more.
enum Found {
    Placed(OwnedFd),
    Open(Arc<Handle>),
}

impl Found {
    fn fd(&self) -> Result<impl AsFd + '_, Errno> {
        match self {
            Self::Placed(fd) => Ok(fd.as_fd()),
            Self::Open(handle) => Ok(file(handle)?.as_fd()),
        }
    }
}

fn file(handle: &Handle) -> Result<&File, Errno> {
    handle.file.as_ref().ok_or(Errno::STALE)
}

/// What of the guest's flags counts for us: how it reads and writes, not how it waits and caches.
fn open_flags(flags: u32) -> OFlags {
    let counts = OFlags::ACCMODE | OFlags::APPEND | OFlags::TRUNC | OFlags::SYNC | OFlags::DSYNC;
    OFlags::from_bits_truncate(flags) & counts
}

fn name(text: &CStr) -> io::Result<Name<'_>> {
    Name::new(text.to_bytes()).map_err(io)
}

impl Folder {
    pub fn new(root: Root, read_only: bool) -> Self {
        Self { root, read_only, owner: Owner::this(), nodes: Mutex::default(), handles: Mutex::default() }
    }

    /// The guest knows nothing any more.
    pub fn forget_all(&self) {
        *lock(&self.handles) = Handles::default();
        *lock(&self.nodes) = Nodes::default();
    }

    /// The guest knows and has open what it did in another machine. What is not there any more stays away.
    pub fn remember(&self, nodes: NodesState, handles: HandlesState) -> Result<(), &'static str> {
        let nodes = nodes.wake()?;
        let before = std::mem::replace(&mut *lock(&self.nodes), nodes);
        match handles.wake(|node, flags| self.open_node(node, flags).ok()) {
            Ok(handles) => {
                *lock(&self.handles) = handles;
                Ok(())
            }
            Err(reason) => {
                *lock(&self.nodes) = before;
                Err(reason)
            }
        }
    }

    fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(io(Errno::ROFS)) } else { Ok(()) }
    }

    /// The node's file, at its place.
    fn walk(&self, node: u64) -> Result<OwnedFd, Errno> {
        let path = lock(&self.nodes).path(node)?;
        let fd = self.root.find(&path).map_err(|errno| match errno {
            // Somebody else has moved or removed it.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Errno::STALE,
            other => other,
        })?;
        let inode = fs::fstat(&fd)?.st_ino;
        if lock(&self.nodes).is(node, inode) { Ok(fd) } else { Err(Errno::STALE) }
    }

    fn file(&self, node: u64) -> Result<Found, Errno> {
        match self.walk(node) {
            Err(Errno::STALE) => lock(&self.handles).of(node).map(Found::Open).ok_or(Errno::STALE),
            other => other.map(Found::Placed),
        }
    }

    fn handle(&self, number: u64, node: u64) -> io::Result<Arc<Handle>> {
        lock(&self.handles).get(number, node).map_err(io)
    }

    /// A descriptor of the handle's own, for the library that wants to own it.
    fn own(handle: &Handle) -> io::Result<File> {
        file(handle).map_err(io)?.try_clone()
    }

    /// What is found by a name is a node from now on.
    fn known(&self, parent: u64, directory: impl AsFd, name: Name<'_>) -> Result<Entry, Errno> {
        let stat = fs::fstat(name.find_in(directory)?)?;
        let number = lock(&self.nodes).found(parent, name, stat.st_ino)?;
        Ok(self.owner.entry(number, &stat))
    }

    /// Opens a node that is a file, or a directory.
    pub fn open_node(&self, node: u64, flags: u32) -> Result<File, Errno> {
        let directory = OFlags::from_bits_truncate(flags) & OFlags::DIRECTORY;
        let flags = open_flags(flags) | directory;
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC);
        if self.read_only && writes {
            return Err(Errno::ROFS);
        }
        Ok(reopen(self.file(node)?.fd()?, flags)?.into())
    }

    fn open_handle(&self, node: u64, flags: u32) -> io::Result<u64> {
        lock(&self.handles).have_room().map_err(io)?;
        let file = self.open_node(node, flags).map_err(io)?;
        // It is not emptied once more when it is opened again.
        let flags = flags & !OFlags::TRUNC.bits();
        lock(&self.handles).add(node, flags, file).map_err(io)
    }

    fn stat(&self, node: u64, handle: Option<u64>) -> io::Result<Stat> {
        match handle {
            Some(number) => fs::fstat(file(&*self.handle(number, node)?).map_err(io)?).map_err(io),
            None => self.file(node).and_then(|found| fs::fstat(found.fd()?)).map_err(io),
        }
    }

    fn set(&self, node: u64, wanted: &stat64, handle: Option<u64>, valid: SetattrValid) -> Result<(), Errno> {
        let found = self.file(node)?;
        let fd = found.fd()?;
        let stat = fs::fstat(&fd)?;
        self.owner.keeps(&stat, wanted, valid)?;
        if valid.contains(SetattrValid::MODE) {
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                return Err(Errno::OPNOTSUPP);
            }
            fs::chmod(via_proc(&fd), attributes::mode(wanted.st_mode))?;
        }
        if valid.contains(SetattrValid::SIZE) {
            let size = u64::try_from(wanted.st_size).map_err(|_| Errno::INVAL)?;
            match handle {
                Some(number) => fs::ftruncate(file(&*lock(&self.handles).get(number, node)?)?, size)?,
                None => fs::ftruncate(reopen(&fd, OFlags::WRONLY)?, size)?,
            }
        }
        if let Some(times) = attributes::times(wanted, valid) {
            fs::utimensat(fs::CWD, via_proc(&fd), &times, AtFlags::empty())?;
        }
        Ok(())
    }

    fn list(
        &self,
        handle: &Handle,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let directory = file(handle).map_err(io)?;
        let _reading = lock(&handle.reading);
        fs::seek(directory, SeekFrom::Start(offset)).map_err(io)?;
        let mut listing = [const { MaybeUninit::uninit() }; LISTING];
        let mut entries = RawDir::new(directory, &mut listing);
        let mut first = true;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let told = DirEntry {
                ino: entry.ino(),
                offset: entry.next_entry_cookie(),
                type_: entry.file_type().as_raw_mode() >> 12,
                name,
            };
            match add(told) {
                Ok(0) => break,
                Ok(_) => first = false,
                // What was told already is told.
                Err(error) if first => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }
}

impl FileSystem for Folder {
    type Inode = u64;
    type Handle = u64;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        let wanted = FsOptions::ASYNC_READ
            | FsOptions::ATOMIC_O_TRUNC
            | FsOptions::BIG_WRITES
            | FsOptions::AUTO_INVAL_DATA
            | FsOptions::ASYNC_DIO
            | FsOptions::PARALLEL_DIROPS
            | FsOptions::MAX_PAGES;
        Ok(capable & wanted)
    }

    fn destroy(&self) {
        self.forget_all();
    }

    fn lookup(&self, _: &Context, parent: u64, text: &CStr) -> io::Result<Entry> {
        let name = name(text)?;
        self.walk(parent).and_then(|directory| self.known(parent, directory, name)).map_err(io)
    }

    fn forget(&self, _: &Context, node: u64, count: u64) {
        lock(&self.nodes).forget(node, count);
    }

    fn getattr(&self, _: &Context, node: u64, handle: Option<u64>) -> io::Result<(stat64, Duration)> {
        Ok((self.owner.attributes(&self.stat(node, handle)?), BELIEF))
    }

    fn setattr(
        &self,
        _: &Context,
        node: u64,
        wanted: stat64,
        handle: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(stat64, Duration)> {
        self.writable()?;
        self.set(node, &wanted, handle, valid).map_err(io)?;
        Ok((self.owner.attributes(&self.stat(node, handle)?), BELIEF))
    }

    fn readlink(&self, _: &Context, node: u64) -> io::Result<Vec<u8>> {
        let fd = self.walk(node).map_err(io)?;
        Ok(fs::readlinkat(fd, "", Vec::new()).map_err(io)?.into_bytes())
    }

    fn symlink(&self, _: &Context, target: &CStr, parent: u64, text: &CStr) -> io::Result<Entry> {
        self.writable()?;
        let name = name(text)?;
        let directory = self.walk(parent).map_err(io)?;
        fs::symlinkat(target, &directory, name.bytes()).map_err(io)?;
        self.known(parent, directory, name).map_err(io)
    }

    fn mknod(
        &self,
        _: &Context,
        parent: u64,
        text: &CStr,
        mode: u32,
        _device: u32,
        umask: u32,
    ) -> io::Result<Entry> {
        self.writable()?;
        let name = name(text)?;
        let directory = self.walk(parent).map_err(io)?;
        let kind = FileType::from_raw_mode(mode);
        let mode = attributes::mode(mode & !umask);
        match kind {
            FileType::RegularFile => name.create_in(&directory, OFlags::WRONLY, mode).map(drop),
            FileType::Fifo | FileType::Socket => fs::mknodat(&directory, name.bytes(), kind, mode, 0),
            // A device is the host's.
            _ => Err(Errno::PERM),
        }
        .map_err(io)?;
        self.known(parent, directory, name).map_err(io)
    }

    fn mkdir(&self, _: &Context, parent: u64, text: &CStr, mode: u32, umask: u32) -> io::Result<Entry> {
        self.writable()?;
        let name = name(text)?;
        let directory = self.walk(parent).map_err(io)?;
        fs::mkdirat(&directory, name.bytes(), attributes::mode(mode & !umask)).map_err(io)?;
        self.known(parent, directory, name).map_err(io)
    }

    fn unlink(&self, _: &Context, parent: u64, text: &CStr) -> io::Result<()> {
        self.remove(parent, text, AtFlags::empty())
    }

    fn rmdir(&self, _: &Context, parent: u64, text: &CStr) -> io::Result<()> {
        self.remove(parent, text, AtFlags::REMOVEDIR)
    }

    fn rename(
        &self,
        _: &Context,
        parent: u64,
        text: &CStr,
        new_parent: u64,
        new_text: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        self.writable()?;
        let (from, to) = (name(text)?, name(new_text)?);
        let flags = RenameFlags::from_bits_retain(flags);
        // Not what overlay file systems leave behind, which is a device.
        if !(RenameFlags::EXCHANGE | RenameFlags::NOREPLACE).contains(flags) {
            return Err(io(Errno::INVAL));
        }
        let one = self.walk(parent).map_err(io)?;
        let other = self.walk(new_parent).map_err(io)?;
        fs::renameat_with(one, from.bytes(), other, to.bytes(), flags).map_err(io)?;
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        lock(&self.nodes).renamed((parent, from), (new_parent, to), exchange);
        Ok(())
    }

    fn link(&self, _: &Context, node: u64, parent: u64, text: &CStr) -> io::Result<Entry> {
        self.writable()?;
        let name = name(text)?;
        let directory = self.walk(parent).map_err(io)?;
        self.file(node).and_then(|found| link(found.fd()?, &directory, name)).map_err(io)?;
        self.known(parent, directory, name).map_err(io)
    }

    fn open(
        &self,
        _: &Context,
        node: u64,
        flags: u32,
        _: u32,
    ) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        let flags = flags & !OFlags::DIRECTORY.bits();
        Ok((Some(self.open_handle(node, flags)?), OpenOptions::empty(), None))
    }

    fn create(
        &self,
        _: &Context,
        parent: u64,
        text: &CStr,
        asked: CreateIn,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions, Option<u32>)> {
        self.writable()?;
        let name = name(text)?;
        let flags = asked.flags & !OFlags::DIRECTORY.bits();
        lock(&self.handles).have_room().map_err(io)?;
        let directory = self.walk(parent).map_err(io)?;
        let mode = attributes::mode(asked.mode & !asked.umask);
        let made = match name.create_in(&directory, open_flags(flags), mode) {
            Ok(file) => Some(file),
            Err(Errno::EXIST) if flags & OFlags::EXCL.bits() == 0 => None,
            Err(errno) => return Err(io(errno)),
        };
        let entry = self.known(parent, &directory, name).map_err(io)?;
        let opened = match made {
            Some(file) => {
                let flags = flags & !OFlags::TRUNC.bits();
                lock(&self.handles).add(entry.inode, flags, file.into()).map_err(io)
            }
            None => self.open_handle(entry.inode, flags),
        };
        // A guest that hears of a failure has not heard of the node.
        let handle = opened.inspect_err(|_| lock(&self.nodes).forget(entry.inode, 1))?;
        Ok((entry, Some(handle), OpenOptions::empty(), None))
    }

    fn read(
        &self,
        _: &Context,
        node: u64,
        handle: u64,
        into: &mut dyn ZeroCopyWriter,
        size: u32,
        offset: u64,
        _lock_owner: Option<u64>,
        _flags: u32,
    ) -> io::Result<usize> {
        let mut file = Self::own(&*self.handle(handle, node)?)?;
        into.write_from(&mut file, size as usize, offset)
    }

    fn write(
        &self,
        _: &Context,
        node: u64,
        handle: u64,
        from: &mut dyn ZeroCopyReader,
        size: u32,
        offset: u64,
        _lock_owner: Option<u64>,
        _delayed: bool,
        _flags: u32,
        _fuse_flags: u32,
    ) -> io::Result<usize> {
        self.writable()?;
        let mut file = Self::own(&*self.handle(handle, node)?)?;
        from.read_to(&mut file, size as usize, offset)
    }

    fn flush(&self, _: &Context, node: u64, handle: u64, _lock_owner: u64) -> io::Result<()> {
        // What was written is in the host's file already.
        self.handle(handle, node).map(drop)
    }

    fn fsync(&self, _: &Context, node: u64, data_only: bool, handle: u64) -> io::Result<()> {
        let handle = self.handle(handle, node)?;
        let file = file(&handle).map_err(io)?;
        if data_only { file.sync_data() } else { file.sync_all() }
    }

    fn fsyncdir(&self, context: &Context, node: u64, data_only: bool, handle: u64) -> io::Result<()> {
        self.fsync(context, node, data_only, handle)
    }

    fn fallocate(
        &self,
        _: &Context,
        node: u64,
        handle: u64,
        mode: u32,
        offset: u64,
        len: u64,
    ) -> io::Result<()> {
        self.writable()?;
        let handle = self.handle(handle, node)?;
        let mode = FallocateFlags::from_bits_retain(mode);
        fs::fallocate(file(&handle).map_err(io)?, mode, offset, len).map_err(io)
    }

    fn release(
        &self,
        _: &Context,
        node: u64,
        _flags: u32,
        handle: u64,
        _flush: bool,
        _flock: bool,
        _lock_owner: Option<u64>,
    ) -> io::Result<()> {
        lock(&self.handles).close(handle, node).map_err(io)
    }

    fn statfs(&self, _: &Context, _: u64) -> io::Result<libc::statvfs64> {
        Ok(attributes::file_system(&fs::fstatvfs(&self.root).map_err(io)?))
    }

    fn opendir(&self, _: &Context, node: u64, _flags: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        let flags = (OFlags::RDONLY | OFlags::DIRECTORY).bits();
        Ok((Some(self.open_handle(node, flags)?), OpenOptions::empty()))
    }

    fn readdir(
        &self,
        _: &Context,
        node: u64,
        handle: u64,
        _size: u32,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.list(&*self.handle(handle, node)?, offset, add)
    }

    fn releasedir(&self, _: &Context, node: u64, _flags: u32, handle: u64) -> io::Result<()> {
        lock(&self.handles).close(handle, node).map_err(io)
    }

    fn lseek(&self, _: &Context, node: u64, handle: u64, offset: u64, whence: u32) -> io::Result<u64> {
        let handle = self.handle(handle, node)?;
        let position = match whence.cast_signed() {
            libc::SEEK_DATA => SeekFrom::Data(offset),
            libc::SEEK_HOLE => SeekFrom::Hole(offset),
            // The guest knows where it is.
            _ => return Err(io(Errno::INVAL)),
        };
        let _reading = lock(&handle.reading);
        fs::seek(file(&handle).map_err(io)?, position).map_err(io)
    }
}

impl Folder {
    fn remove(&self, parent: u64, text: &CStr, flags: AtFlags) -> io::Result<()> {
        self.writable()?;
        let name = name(text)?;
        let directory = self.walk(parent).map_err(io)?;
        fs::unlinkat(directory, name.bytes(), flags).map_err(io)?;
        lock(&self.nodes).removed(parent, name);
        Ok(())
    }
}
