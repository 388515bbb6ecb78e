//! A port of the switch: a socket in its directory, and the connections to the sockets of the others.
//!
//! A message is a frame with 18 bytes before it: the sender's port and the frame's [`Header`], in little-endian order.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use virtio::back::Header;

use super::directory::{Directory, Error};
use crate::net::Frame;

/// The number of a port: random, and the name of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u64);

/// Bytes before the frame.
pub const PREFIX: usize = 18;
/// Bytes of the longest message.
pub const LONGEST: usize = PREFIX + Frame::LONGEST;
/// Bytes that may be under way to a peer.
const UNDER_WAY: usize = 4 << 20;

/// What goes before a frame.
pub fn prefix(port: PortId, header: &Header) -> [u8; PREFIX] {
    let mut bytes = [0; PREFIX];
    bytes[..8].copy_from_slice(&port.0.to_le_bytes());
    bytes[8] = header.flags;
    bytes[9] = header.gso_type;
    let words = [header.hdr_len, header.gso_size, header.csum_start, header.csum_offset];
    for (into, word) in bytes[10..].chunks_exact_mut(2).zip(words) {
        into.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The sender and the frame of a message; `None` if it is none.
pub fn parse(message: &[u8]) -> Option<(PortId, Header, &[u8])> {
    let (prefix, frame) = message.split_first_chunk::<PREFIX>()?;
    if !(Frame::SHORTEST..=Frame::LONGEST).contains(&frame.len()) {
        return None;
    }
    let [a, b, c, d, e, f, g, h, flags, gso_type, words @ ..] = *prefix;
    let word = |at: usize| u16::from_le_bytes([words[at], words[at + 1]]);
    let header = Header {
        flags,
        gso_type,
        hdr_len: word(0),
        gso_size: word(2),
        csum_start: word(4),
        csum_offset: word(6),
    };
    Some((PortId(u64::from_le_bytes([a, b, c, d, e, f, g, h])), header, frame))
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is there, or was dropped.
    Done,
    /// The peer has much to read: it may have room soon.
    Full,
    /// The peer is gone.
    Gone,
}

/// The way to another port.
#[derive(Debug)]
pub struct Peer {
    socket: UnixDatagram,
    /// Since when it has had no room.
    full: Option<Instant>,
}

impl Peer {
    /// How long a peer without room is waited for. One that reads nothing (its machine is paused, say) is not to
    /// hold up what goes to others: beyond this, what has no room is dropped.
    pub const PATIENCE: Duration = Duration::from_millis(20);

    fn connect(directory: &Directory, port: PortId) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // As much as the host allows.
        let _ = setsockopt(&socket, sockopt::SndBuf, &UNDER_WAY);
        socket.connect(directory.socket(port, true))?;
        Ok(Self { socket, full: None })
    }

    /// Sends a message; a peer without room is worth waiting for if `patient`.
    pub fn send(&mut self, message: &[u8], patient: bool, now: Instant) -> Delivery {
        match self.socket.send(message) {
            Ok(_) => {
                self.full = None;
                Delivery::Done
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock)
                    || error.raw_os_error() == Some(libc::ENOBUFS) =>
            {
                let since = *self.full.get_or_insert(now);
                let waited = now.saturating_duration_since(since);
                if patient && waited < Self::PATIENCE { Delivery::Full } else { Delivery::Done }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Delivery::Done,
            Err(_) => Delivery::Gone,
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A port, and all others.
#[derive(Debug)]
pub struct Port {
    /// Its number.
    pub id: PortId,
    directory: Directory,
    socket: UnixDatagram,
    /// The others.
    pub peers: HashMap<PortId, Peer>,
}

impl Port {
    /// The most ports of a switch.
    pub const MOST: usize = 64;

    /// A new port.
    ///
    /// # Errors
    /// [`Error`], where the switch is full or the host refuses.
    pub fn join(directory: Directory) -> Result<Self, Error> {
        let path = directory.path().to_owned();
        let host = |error| Error::Host { path: path.clone(), error };
        let id = PortId(getrandom::u64().map_err(|error| host(error.into()))?);
        let (early, place) = (directory.socket(id, false), directory.socket(id, true));
        let socket = UnixDatagram::bind(&early).map_err(host)?;
        socket.set_nonblocking(true).map_err(host)?;
        // It appears to others only when it can be connected to; so one that cannot be is a dead one's.
        let renamed = std::fs::rename(&early, &place);
        if let Err(error) = renamed {
            let _ = std::fs::remove_file(&early);
            return Err(host(error));
        }
        let mut port = Self { id, directory, socket, peers: HashMap::new() };
        port.look();
        if port.peers.len() >= Self::MOST { Err(Error::Full(port.peers.len())) } else { Ok(port) }
    }

    /// The directory it is in.
    #[cfg(test)]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Looks who is there. Gives those who are gone.
    pub fn look(&mut self) -> Vec<PortId> {
        let there = self.directory.ports(4 * Self::MOST);
        let gone: Vec<PortId> = self.peers.keys().filter(|port| !there.contains(port)).copied().collect();
        gone.iter().for_each(|port| drop(self.peers.remove(port)));
        for port in there {
            if port == self.id || self.peers.contains_key(&port) || self.peers.len() >= Self::MOST {
                continue;
            }
            match Peer::connect(&self.directory, port) {
                Ok(peer) => drop(self.peers.insert(port, peer)),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.bury(port),
                Err(error) => tracing::debug!(%error, "a port of the switch cannot be reached"),
            }
        }
        gone
    }

    /// A port is dead: its process ended without removing it.
    pub fn bury(&mut self, port: PortId) {
        self.peers.remove(&port);
        // Others may have done so already.
        let _ = std::fs::remove_file(self.directory.socket(port, true));
    }

    /// The next message, if there is one: its length.
    pub fn receive(&self, into: &mut [u8]) -> Option<usize> {
        loop {
            match self.socket.recv(into) {
                Ok(len) => return Some(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.directory.socket(self.id, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(port: u64, flags: u8, gso_type: u8, words: [u16; 4], len in 14usize..100) {
            let [hdr_len, gso_size, csum_start, csum_offset] = words;
            let header = Header { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset };
            let mut message = prefix(PortId(port), &header).to_vec();
            let frame: Vec<u8> = (0..len as u8).collect();
            message.extend_from_slice(&frame);
            prop_assert_eq!(parse(&message), Some((PortId(port), header, &frame[..])));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(parse(&bytes).is_some(), bytes.len() >= PREFIX + 14);
        }
    }
}
