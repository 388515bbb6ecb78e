//! A switch between the machines of one user on one host.
//!
//! There is no process that switches: each machine's port knows the sockets of all others and sends its frames
//! straight to where they go. So there is nothing that must be started first or outlive the rest; a
//! frame crosses one socket; and what a machine floods it pays for itself.
//!
//! ```text
//!   $XDG_RUNTIME_DIR/ringfence/switch/NAME/     0700
//!     3f0c…  ◄── machine A binds this;  B and C connect to it and send
//!     81d2…  ◄── machine B
//!     c77a…  ◄── machine C
//! ```
//!
//! **Kept apart**: a name is a directory, and a port has no way to any socket outside of its own. Users are kept
//! apart by the directory's mode.
//!
//! **Bounded**: ports by [`Port::MOST`], stations by [`Table::MOST`], what is under way by the sockets' buffers. A
//! frame for a station whose port has no room waits a little ([`Peer::PATIENCE`]), which is what lets TCP run at full
//! speed; beyond that, and when flooded, it is dropped.
//!
//! **Offloads** stay as they are on the way: a large segment that one guest sends is one frame for the other,
//! and no checksum is ever computed, unless the receiver cannot take that ([`offload::finish`]). Headers are checked where
//! they arrive; a neighbour is as little trusted as a guest.

mod directory;
mod port;
mod table;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use base::Buffer;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use virtio::back::{Header, Net, NetFacts, Offloads, Received, Sent};

pub use directory::{Directory, Error};

use self::port::{Delivery, Peer, Port, PortId};
use self::table::Table;
use super::alarm::Alarm;
use super::{Frame, offload};

/// What guests may leave to each other.
const OFFLOADS: Offloads = Offloads::all();

/// A machine's connection to a switch.
pub struct Switch {
    mac: [u8; 6],
    port: Port,
    table: Table,
    /// Tells of ports that come and go.
    changes: Inotify,
    /// What the device waits for: the port's socket, changes, the alarm, a peer that gets room.
    wake: Epoll,
    alarm: Alarm,
    /// The peer for which a frame waits.
    awaited: Option<PortId>,
    accepted: Offloads,
    finished: VecDeque<Frame>,
    message: Vec<u8>,
}

impl Switch {
    /// Joins the switch whose directory that is, with a machine of this hardware address.
    ///
    /// # Errors
    /// [`Error`], where the switch is full or the host refuses.
    pub fn join(directory: Directory, mac: [u8; 6]) -> Result<Self, Error> {
        let path = directory.path().to_owned();
        let host = |error: nix::Error| Error::Host { path: path.clone(), error: error.into() };
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(host)?;
        let which = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        changes.add_watch(&path, which).map_err(host)?;
        let port = Port::join(directory)?;
        let wake = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(host)?;
        let alarm = Alarm::new().map_err(|error| Error::Host { path: path.clone(), error })?;
        for fd in [port.as_fd(), changes.as_fd(), alarm.as_fd()] {
            wake.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(host)?;
        }
        Ok(Self {
            mac,
            port,
            table: Table::default(),
            changes,
            wake,
            alarm,
            awaited: None,
            accepted: Offloads::empty(),
            finished: VecDeque::new(),
            message: vec![],
        })
    }

    /// The message in hand goes to the peer, or to all.
    fn deliver(&mut self, now: Instant) -> Sent {
        let target: [u8; 6] = self.message[port::PREFIX..port::PREFIX + 6].try_into().unwrap_or([0xff; 6]);
        let known = self.table.port_of(&target, now).filter(|port| self.port.peers.contains_key(port));
        if let Some(port) = known
            && let Some(peer) = self.port.peers.get_mut(&port)
        {
            return match peer.send(&self.message, true, now) {
                Delivery::Done => Sent::Taken,
                Delivery::Full => self.wait_for(port, now),
                Delivery::Gone => {
                    self.bury(port);
                    Sent::Taken
                }
            };
        }
        let gone: Vec<PortId> = self
            .port
            .peers
            .iter_mut()
            .filter_map(|(port, peer)| {
                (peer.send(&self.message, false, now) == Delivery::Gone).then_some(*port)
            })
            .collect();
        gone.into_iter().for_each(|port| self.bury(port));
        Sent::Taken
    }

    fn bury(&mut self, port: PortId) {
        self.port.bury(port);
        self.table.forget(port);
    }

    /// Makes the wake readable when the peer has room, or when patience ends.
    fn wait_for(&mut self, port: PortId, now: Instant) -> Sent {
        let Some(peer) = self.port.peers.get(&port) else { return Sent::Taken };
        if self.wake.add(peer, EpollEvent::new(EpollFlags::EPOLLOUT, 0)).is_err() {
            return Sent::Taken; // dropped: there is no way to wait
        }
        self.awaited = Some(port);
        self.alarm.at(Some(now + Peer::PATIENCE));
        Sent::Full
    }

    fn stop_waiting(&mut self) {
        if let Some(port) = self.awaited.take()
            && let Some(peer) = self.port.peers.get(&port)
        {
            // It is in there; a peer that is gone went with its descriptor.
            let _ = self.wake.delete(peer);
        }
        self.alarm.answer();
    }

    /// Takes in what came by the socket. False if nothing did.
    fn take_in(&mut self) -> bool {
        self.message.resize(port::LONGEST, 0);
        let Some(len) = self.port.receive(&mut self.message) else { return false };
        let Some((from, header, frame)) = port::parse(&self.message[..len]) else { return true };
        if let Ok(source) = <[u8; 6]>::try_from(&frame[6..12]) {
            self.table.learn(source, from, Instant::now());
        }
        let frame = Frame { header, bytes: frame.to_vec() };
        let finished = &mut self.finished;
        if let Err(error) = offload::finish(frame, self.accepted, |frame| finished.push_back(frame)) {
            tracing::debug!(%error, "from a neighbour on the switch");
        }
        true
    }

    /// Have ports come or gone?
    fn look(&mut self) {
        let mut changed = false;
        while self.changes.read_events().is_ok_and(|events| !events.is_empty()) {
            changed = true;
        }
        if changed {
            self.port.look().into_iter().for_each(|port| self.table.forget(port));
        }
    }
}

impl Net for Switch {
    fn facts(&self) -> NetFacts {
        NetFacts { mac: self.mac, mtu: 1500, from_guest: OFFLOADS, to_guest: OFFLOADS }
    }

    fn accept(&mut self, to_guest: Offloads) {
        self.accepted = to_guest;
    }

    fn send(&mut self, header: &Header, frame: &Buffer) -> Sent {
        self.stop_waiting();
        let fits = (Frame::SHORTEST as u64..=Frame::LONGEST as u64).contains(&frame.len());
        if !fits {
            return Sent::Taken;
        }
        self.message.resize(port::PREFIX + frame.len() as usize, 0);
        self.message[..port::PREFIX].copy_from_slice(&port::prefix(self.port.id, header));
        frame.read(0, &mut self.message[port::PREFIX..]);
        if offload::check(header, &self.message[port::PREFIX..]).is_err() {
            return Sent::Taken;
        }
        self.deliver(Instant::now())
    }

    fn receive(&mut self, into: &Buffer) -> Received {
        loop {
            if let Some(frame) = self.finished.pop_front() {
                let len = frame.bytes.len() as u64;
                if len > into.len() {
                    continue;
                }
                into.write(0, &frame.bytes);
                return Received::Frame(frame.header, len);
            }
            if !self.take_in() {
                self.look();
                if self.awaited.is_none() {
                    self.alarm.answer();
                }
                return Received::Nothing;
            }
        }
    }

    fn link(&self) -> bool {
        true
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.wake.0.as_fd()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests;
