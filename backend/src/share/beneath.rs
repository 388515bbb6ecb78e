//! Files below the shared directory, and nothing else.
//!
//! Everything that the guest names is found by openat2(2) from a descriptor of the directory, under these rules: never
//! above it (`RESOLVE_BENEATH`), through no symbolic link (`RESOLVE_NO_SYMLINKS`, `RESOLVE_NO_MAGICLINKS`), into no other
//! file system (`RESOLVE_NO_XDEV`). The kernel keeps them whatever is renamed meanwhile, by guest or host. A guest's
//! kernel follows symbolic links itself, in the guest's own tree.
//!
//! What is found is a descriptor that only points (`O_PATH`); reading and writing take another, opened from it through
//! /proc, which is the same file for certain.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::Error;

const RULES: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// A descriptor that only points.
const POINTS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes of a name.
const MOST_NAME: usize = 255;

/// The shared directory.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens it, and sees whether the host has what it takes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open = |errno: Errno| Error::Open { path: path.to_owned(), source: errno.into() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Self(fs::open(path, flags, Mode::empty()).map_err(open)?);
        match root.find(".") {
            Ok(_) => {}
            Err(Errno::NOSYS | Errno::PERM) => return Err(Error::TooOld),
            Err(errno) => return Err(open(errno)),
        }
        fs::stat(via_proc(&root.0)).map_err(|errno| Error::NoProc(errno.into()))?;
        // Whether it may be read is told now and not to the guest.
        reopen(&root.0, OFlags::RDONLY | OFlags::DIRECTORY).map_err(open)?;
        Ok(root)
    }

    /// What is at this path below it.
    pub fn find(&self, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
        find(&self.0, path)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn find(from: impl AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    fs::openat2(from, path, POINTS, Mode::empty(), RULES)
}

/// A name in a directory: one component, and no way up.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// What the guest says is a name.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Errno> {
        match bytes {
            b"" | b"." | b".." => Err(Errno::INVAL),
            _ if bytes.contains(&b'/') || bytes.contains(&0) => Err(Errno::INVAL),
            _ if bytes.len() > MOST_NAME => Err(Errno::NAMETOOLONG),
            _ => Ok(Self(bytes)),
        }
    }

    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// What has it in this directory.
    pub fn find_in(self, directory: impl AsFd) -> Result<OwnedFd, Errno> {
        find(directory, self.0)
    }

    /// Makes a regular file that was not there, and opens it.
    pub fn create_in(self, directory: impl AsFd, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat2(directory, self.0, flags, mode, RULES)
    }
}

/// The path by which the kernel gives a descriptor's own file.
pub fn via_proc(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Opens what a descriptor points to. Only of regular files and directories: opening others waits for somebody, or does
/// things.
pub fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    match FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) {
        FileType::RegularFile | FileType::Directory => {
            fs::open(via_proc(fd), flags | OFlags::CLOEXEC, Mode::empty())
        }
        _ => Err(Errno::PERM),
    }
}

/// Gives the file that a descriptor points to another name.
pub fn link(fd: impl AsFd, directory: impl AsFd, name: Name<'_>) -> Result<(), Errno> {
    // AT_EMPTY_PATH would take a privilege.
    fs::linkat(CWD, via_proc(fd), directory, name.bytes(), AtFlags::SYMLINK_FOLLOW)
}

/// For the protocol's library.
pub fn io(errno: Errno) -> io::Error {
    errno.into()
}
