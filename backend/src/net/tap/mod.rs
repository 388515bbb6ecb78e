//! A tap: an interface of the host's whose cable ends in this process (the kernel's
//! Documentation/networking/tuntap.rst), alone or in a bridge.
//!
//! Frames go from guest memory to the kernel and back without a copy of ours. Each has the kernel's `struct virtio_net_hdr`
//! before it, so what a guest leaves undone the kernel does, or its hardware, and the other way round: large segments
//! cross whole. The kernel checks those headers; it drops what contradicts itself.

#![allow(unsafe_code)] // readv and writev of guest memory behind a header

mod error;
mod interface;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use base::Buffer;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use virtio::back::{Header, Net, NetFacts, Offloads, Received, Sent};

pub use error::Error;
pub use interface::InterfaceName;

use self::interface::{Interface, Request};
use super::Frame;

const HEADER: usize = 10;
const DEVICE: &str = "/dev/net/tun";
/// The kernel takes no more vectors in one call (`UIO_MAXIOV`).
const MOST_VECTORS: usize = 1024;

/// Each offload as the kernel calls it.
const OFFLOADS: [(Offloads, u32); 5] = [
    (Offloads::CHECKSUM, libc::TUN_F_CSUM),
    (Offloads::TSO4, libc::TUN_F_TSO4),
    (Offloads::TSO6, libc::TUN_F_TSO6),
    (Offloads::ECN, libc::TUN_F_TSO_ECN),
    // Both kinds or none, since Linux 6.2.
    (Offloads::USO4.union(Offloads::USO6), libc::TUN_F_USO4 | libc::TUN_F_USO6),
];

/// A tap in use.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: InterfaceName,
    mac: [u8; 6],
    mtu: u16,
    able: Offloads,
    /// What the device waits for: the file, while the interface is there.
    wake: Epoll,
    gone: bool,
}

impl Tap {
    /// The interface of this name, for a machine of this hardware address. It is made, for as long as the machine
    /// runs, where there is none and the user may.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(name: &InterfaceName, mac: [u8; 6]) -> Result<Self, Error> {
        let there = Interface::find(name.as_str()).is_ok();
        let (file, _) = attach(name.as_str()).map_err(|failure| failure.explain(name, there))?;
        let host = |what| move |error| Error::Host { name: name.clone(), what, error };
        let interface = Interface::find(name.as_str()).map_err(host("it is gone"))?;
        interface.bring_up().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Error::Down(name.clone()),
            _ => host("bringing it up")(error),
        })?;
        Self::with(file, &interface, name.clone(), mac)
    }

    /// A new interface in this bridge, for as long as the machine runs.
    ///
    /// # Errors
    /// [`Error`].
    pub fn in_bridge(bridge: &InterfaceName, mac: [u8; 6]) -> Result<Self, Error> {
        let found = Interface::find(bridge.as_str()).map_err(|_| Error::NoBridge(bridge.clone()))?;
        let (file, name) = attach("rftap%d").map_err(|failure| match failure {
            Failure::Attach(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Error::BridgeRights(bridge.clone())
            }
            other => other.explain(bridge, false),
        })?;
        let host = |what| {
            move |error: io::Error| match error.kind() {
                io::ErrorKind::PermissionDenied => Error::BridgeRights(bridge.clone()),
                io::ErrorKind::Unsupported => Error::NoBridge(bridge.clone()),
                _ => Error::Host { name: bridge.clone(), what, error },
            }
        };
        let port = Interface::find(&name).map_err(host("the new interface is gone"))?;
        // A bridge takes the lowest address of its ports for its own: this is none that it would change to.
        let [_, b, c, d, e, f] = mac;
        port.set_mac([0xfe, b, c, d, e, f]).map_err(host("setting the new interface's address"))?;
        let mtu = found.mtu().map_err(host("reading its MTU"))?;
        port.set_mtu(mtu).map_err(host("setting the new interface's MTU"))?;
        found.add_port(&port).map_err(host("adding the new interface"))?;
        port.bring_up().map_err(host("bringing the new interface up"))?;
        let name = InterfaceName::new(&name).unwrap_or_else(|| bridge.clone());
        Self::with(file, &port, name, mac)
    }

    fn with(file: File, interface: &Interface, name: InterfaceName, mac: [u8; 6]) -> Result<Self, Error> {
        let mtu = interface.mtu().ok().and_then(|mtu| u16::try_from(mtu).ok()).unwrap_or(1500);
        let waits = |error: nix::Error| Error::Host {
            name: name.clone(),
            what: "waiting for it",
            error: error.into(),
        };
        let wake = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(waits)?;
        wake.add(&file, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(waits)?;
        let mut tap = Self { file, name, mac, mtu, able: Offloads::empty(), wake, gone: false };
        let most = Offloads::all();
        for able in [most, most.difference(Offloads::USO4 | Offloads::USO6)] {
            if tap.set_offloads(able).is_ok() {
                tap.able = able;
                break;
            }
        }
        tap.accept(Offloads::empty());
        Ok(tap)
    }

    /// The interface's name.
    pub fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// The interface was deleted: the cable is out, and the file would be readable for ever.
    fn lose(&mut self) {
        if !self.gone {
            tracing::warn!(name = %self.name, "the interface is gone; the guest's cable is out");
            // It is in there.
            let _ = self.wake.delete(&self.file);
            self.gone = true;
        }
    }

    fn set_offloads(&self, offloads: Offloads) -> io::Result<()> {
        let chosen = OFFLOADS.iter().filter(|(offload, _)| offloads.contains(*offload));
        let bits = chosen.fold(0, |bits, (_, bit)| bits | bit);
        // SAFETY: this request takes a number.
        let done =
            unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(bits)) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// What failed.
enum Failure {
    Device(io::Error),
    Attach(io::Error),
}

impl Failure {
    fn explain(self, name: &InterfaceName, there: bool) -> Error {
        match self {
            Self::Device(error) => Error::Device(error),
            Self::Attach(error) => match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) if there => Error::Owner(name.clone()),
                Some(libc::EPERM | libc::EACCES) => Error::Rights(name.clone()),
                Some(libc::EBUSY | libc::EINVAL) => Error::Busy(name.clone()),
                _ => Error::Host { name: name.clone(), what: "attaching to it", error },
            },
        }
    }
}

/// Attaches to a tap of this name, or makes one, by a pattern too. Gives its name.
fn attach(name: &str) -> Result<(File, String), Failure> {
    let open = || {
        let how = libc::O_NONBLOCK | libc::O_CLOEXEC;
        OpenOptions::new().read(true).write(true).custom_flags(how).open(DEVICE).map_err(Failure::Device)
    };
    let attach = |more: i32| {
        let file = open()?;
        let flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | more) as i16;
        let mut request = Request::new(name).with(&flags.to_ne_bytes());
        request.make(&file, libc::TUNSETIFF).map_err(Failure::Attach)?;
        Ok((file, request.name()))
    };
    match attach(0) {
        // One that was made for several queues wants to hear of it, though this is the only one.
        Err(Failure::Attach(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
            attach(libc::IFF_MULTI_QUEUE)
        }
        other => other,
    }
}

fn vector(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

impl Net for Tap {
    fn facts(&self) -> NetFacts {
        NetFacts { mac: self.mac, mtu: self.mtu, from_guest: self.able, to_guest: self.able }
    }

    fn accept(&mut self, to_guest: Offloads) {
        let uso = Offloads::USO4 | Offloads::USO6;
        let fitting = if to_guest.contains(uso) { to_guest } else { to_guest.difference(uso) };
        if let Err(error) = self.set_offloads(fitting & self.able) {
            tracing::warn!(name = %self.name, %error, "the tap's offloads cannot be set");
        }
    }

    fn send(&mut self, header: &Header, frame: &Buffer) -> Sent {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&[header.flags, header.gso_type]);
        let words = [header.hdr_len, header.gso_size, header.csum_start, header.csum_offset];
        bytes[2..].copy_from_slice(words.map(u16::to_ne_bytes).as_flattened());
        let mut vectors = vec![vector(&mut bytes)];
        vectors.extend(frame.iovecs());
        let fits = (Frame::SHORTEST as u64..=Frame::LONGEST as u64).contains(&frame.len());
        if fits && vectors.len() <= MOST_VECTORS {
            // SAFETY: the header is ours, the pieces are guest RAM that the buffer keeps; the kernel only reads.
            unsafe { libc::writev(self.file.as_raw_fd(), vectors.as_ptr(), vectors.len() as i32) };
            // What the kernel does not take, because the interface is down or the frame is none, is lost.
        }
        Sent::Taken
    }

    fn receive(&mut self, into: &Buffer) -> Received {
        let (mut header, mut over) = ([0; HEADER], [0; 1]);
        loop {
            let mut vectors = vec![vector(&mut header)];
            vectors.extend(into.iovecs());
            vectors.truncate(MOST_VECTORS - 1);
            let room: usize = vectors.iter().map(|vector| vector.iov_len).sum();
            // What reaches into this byte was longer than the buffer: the kernel cuts it off without a word.
            vectors.push(vector(&mut over));
            // SAFETY: header and last byte are ours, the pieces are guest RAM that the buffer keeps.
            let count = unsafe { libc::readv(self.file.as_raw_fd(), vectors.as_ptr(), vectors.len() as i32) };
            let Ok(count) = usize::try_from(count) else {
                match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EBADFD) => self.lose(),
                    _ => {}
                }
                return Received::Nothing;
            };
            let len = count.saturating_sub(HEADER) as u64;
            into.wrote(len.min(into.len()));
            if count > room || count < HEADER {
                continue;
            }
            let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
            let header = Header {
                flags: header[0],
                gso_type: header[1],
                hdr_len: word(2),
                gso_size: word(4),
                csum_start: word(6),
                csum_offset: word(8),
            };
            return Received::Frame(header, len);
        }
    }

    fn link(&self) -> bool {
        !self.gone
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.wake.0.as_fd()
    }
}
