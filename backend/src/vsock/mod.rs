//! A machine's sockets as Unix sockets of the host, in Firecracker's convention:
//!
//! ```text
//!   host to guest   connect to PATH, write "CONNECT 52\n", read "OK 1073741824\n": the guest's port 52, and ours
//!   guest to host   a connection to port 52 goes to the Unix socket PATH_52, where some program listens
//! ```
//!
//! There is no thread here: all is done in the calls that the device's thread makes. An epoll descriptor is the wake;
//! it tells of each change once (`EPOLLET`), so a stream that the guest does not read does not wake anybody.
//!
//! PATH may be used by its owner only (mode 0600), and goes when the machine does. Nobody on the host can hold more than
//! [`MOST`] descriptors of ours: whoever has connected and not said `CONNECT` yet makes room for the next.

mod error;
mod greeting;
mod socket;
mod spec;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;
use virtio::back::{Broken, Heard, Stream, Vsock, VsockNews};

pub use error::Error;
pub use spec::{Spec, SpecError};

use greeting::Greeting;
use socket::Socket;
pub use socket::SocketFile;

/// Streams at the same time: more than the front has connections.
const MOST: usize = 320;
/// Of these, such as have not said `CONNECT` yet.
const MOST_GREETERS: usize = 32;
/// Events that one call takes; others come with the next.
const MOST_EVENTS: usize = 64;
/// Connections that one call takes.
const MOST_ACCEPTED: usize = 16;

/// The token of the socket that listens; a stream's is its key.
const LISTENER: u64 = u64::MAX;

/// The back-end.
#[derive(Debug)]
pub struct Unix {
    path: PathBuf,
    socket: Socket,
    epoll: Epoll,
    streams: Slab<Peer>,
    /// Those that have not said `CONNECT` yet, the oldest first.
    greeters: VecDeque<Stream>,
    /// Nobody more could be let in for want of descriptors.
    starved: bool,
}

/// The other end of a stream.
#[derive(Debug)]
struct Peer {
    socket: UnixStream,
    greets: bool,
}

impl Unix {
    /// Listens at `path`.
    ///
    /// # Errors
    /// Where that cannot be: see [`Error`].
    pub fn new(path: &Path) -> Result<Self, Error> {
        let host = |errno: Errno| Error::Host(errno.into());
        let socket = Socket::listen(path)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(host)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&socket, EpollEvent::new(flags, LISTENER)).map_err(host)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
            epoll,
            streams: Slab::new(),
            greeters: VecDeque::new(),
            starved: false,
        })
    }

    /// The file at the path.
    pub fn file(&self) -> SocketFile {
        self.socket.file()
    }

    fn add(&mut self, socket: UnixStream, greets: bool) -> Option<Stream> {
        let entry = self.streams.vacant_entry();
        let all = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.epoll.add(&socket, EpollEvent::new(all, entry.key() as u64)).ok()?;
        let stream = entry.key();
        entry.insert(Peer { socket, greets });
        Some(stream)
    }

    /// Takes whoever has connected to our path.
    fn admit(&mut self) {
        for _ in 0..MOST_ACCEPTED {
            match self.socket.accept() {
                Ok(peer) => {
                    while self.greeters.len() >= MOST_GREETERS
                        || self.streams.len() >= MOST && !self.greeters.is_empty()
                    {
                        if let Some(oldest) = self.greeters.pop_front() {
                            self.streams.try_remove(oldest);
                        }
                    }
                    // With no room at all it is turned away.
                    if self.streams.len() < MOST
                        && let Some(stream) = self.add(peer, true)
                    {
                        self.greeters.push_back(stream);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "nobody more is let in for now");
                    self.starved = true;
                    return;
                }
            }
        }
        self.look_again();
    }

    /// Has the epoll tell of those once more who wait to be let in.
    fn look_again(&mut self) {
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, LISTENER);
        // Where it fails, they wait until another comes.
        let _ = self.epoll.modify(&self.socket, &mut event);
    }

    /// Hears whoever has not said `CONNECT` yet.
    fn greet(&mut self, stream: Stream, gone: bool, into: &mut Vec<VsockNews>) {
        let Some(peer) = self.streams.get_mut(stream) else { return };
        match greeting::read(&mut peer.socket) {
            Greeting::Port(port) => {
                peer.greets = false;
                self.greeters.retain(|greeter| *greeter != stream);
                into.push(VsockNews::Incoming { stream, port });
                if gone {
                    into.push(VsockNews::Gone(stream));
                }
            }
            Greeting::Unfinished if !gone => {}
            Greeting::Unfinished | Greeting::Wrong => self.drop_stream(stream),
        }
    }

    fn drop_stream(&mut self, stream: Stream) {
        self.greeters.retain(|greeter| *greeter != stream);
        // The descriptor is closed, and leaves the epoll with that.
        if self.streams.try_remove(stream).is_some() && std::mem::take(&mut self.starved) {
            self.look_again();
        }
    }
}

impl Vsock for Unix {
    fn connect(&mut self, port: u32) -> Option<Stream> {
        if self.streams.len() >= MOST {
            return None;
        }
        let path = socket::of_port(&self.path, port);
        let peer = socket::connect(&path)
            .inspect_err(|error| {
                tracing::debug!(path = %path.display(), %error, "the guest's connection is refused");
            })
            .ok()?;
        self.add(peer, false)
    }

    fn accept(&mut self, stream: Stream, host_port: u32) {
        if let Some(peer) = self.streams.get_mut(stream) {
            // It is the first that is written, so there is room; whoever is gone is found out by reading.
            let _ = peer.socket.write_all(format!("OK {host_port}\n").as_bytes());
        }
    }

    fn read(&mut self, stream: Stream, into: &mut [u8]) -> Result<Heard, Broken> {
        let peer = self.streams.get_mut(stream).ok_or(Broken)?;
        match retry(|| peer.socket.read(into)) {
            Ok(0) => Ok(Heard::End),
            Ok(len) => Ok(Heard::Bytes(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Heard::Nothing),
            Err(_) => Err(Broken),
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<usize, Broken> {
        let peer = self.streams.get_mut(stream).ok_or(Broken)?;
        match retry(|| peer.socket.write(bytes)) {
            Ok(len) => Ok(len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(Broken),
        }
    }

    fn end(&mut self, stream: Stream) {
        if let Some(peer) = self.streams.get(stream) {
            // Of whoever is gone there is nobody to tell.
            let _ = peer.socket.shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, stream: Stream) {
        self.drop_stream(stream);
    }

    fn news(&mut self, into: &mut Vec<VsockNews>) {
        let mut events = [EpollEvent::empty(); MOST_EVENTS];
        // An interruption is as good as no event: the descriptor stays readable.
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            let flags = event.events();
            if event.data() == LISTENER {
                self.admit();
                continue;
            }
            let stream = event.data() as usize;
            let gone = flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
            // Who left in this very round is news no more.
            let Some(peer) = self.streams.get(stream) else { continue };
            if peer.greets {
                self.greet(stream, gone, into);
                continue;
            }
            let told = [
                (EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, VsockNews::Readable(stream)),
                (EpollFlags::EPOLLOUT, VsockNews::Writable(stream)),
                (EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR, VsockNews::Gone(stream)),
            ];
            into.extend(told.into_iter().filter(|(of, _)| flags.intersects(*of)).map(|(_, news)| news));
        }
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests;
