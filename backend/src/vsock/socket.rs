//! The socket that listens at the path, and sockets connected to those of ports.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};

use super::error::Error;

/// Bytes of a Unix socket's path (`sun_path` has 108, with a NUL at the end).
const MOST_PATH: usize = 107;
/// `_` and the longest number of a port.
const SUFFIX: usize = 11;

/// A socket that listens. It leaves the file system with this.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket that listens, which goes when the first of these does: a process that is about to end may have no
/// time to wait for the device.
#[derive(Clone, Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another that has its name meanwhile is not ours to remove.
    identity: (u64, u64),
}

impl Socket {
    /// Makes one at `path`; a socket that a machine left there when it was killed is replaced.
    pub fn listen(path: &Path) -> Result<Self, Error> {
        if path.as_os_str().len() + SUFFIX > MOST_PATH {
            return Err(Error::TooLong { path: path.to_owned(), most: MOST_PATH });
        }
        let bind = |source| Error::Bind { path: path.to_owned(), source };
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                make_room(path)?;
                UnixListener::bind(path).map_err(bind)?
            }
            other => other.map_err(bind)?,
        };
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let found = fs::symlink_metadata(path).map_err(bind)?;
        let file = SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()) };
        Ok(Self { listener, file })
    }

    /// Its file.
    pub fn file(&self) -> SocketFile {
        self.file.clone()
    }

    /// Lets the next one in, if somebody waits.
    pub fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == self.identity) {
            // What cannot be removed is replaced by the next machine there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket at which nobody listens.
fn make_room(path: &Path) -> Result<(), Error> {
    let bind = |source| Error::Bind { path: path.to_owned(), source };
    if !fs::symlink_metadata(path).map_err(bind)?.file_type().is_socket() {
        return Err(Error::NoSocket(path.to_owned()));
    }
    match connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(bind),
        Ok(_) => Err(Error::Occupied(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Error::Occupied(path.to_owned())),
        Err(error) => Err(bind(error)),
    }
}

/// Where a port of the host's is.
pub fn of_port(path: &Path, port: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!("_{port}"));
    name.into()
}

/// Connects without waiting: who has too many waiting already refuses with [`ErrorKind::WouldBlock`].
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::socket::connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd.into())
}
