//! A network without privileges: to the guest it is a router with a DHCP server and a name server; to the host,
//! a program that opens sockets.
//!
//! ```text
//!   10.0.2.15      10.0.2.2   gateway, DHCP                the guest's connections leave as
//!    guest ────────┤                                ─────► connections of this process
//!                  10.0.2.3   names: the host's servers
//! ```
//!
//! Towards the guest, TCP must be spoken, with all that belongs to it: that is smoltcp's work, a state machine without
//! threads or sockets of its own, fuzzed by its makers. Its interfaces look through all their sockets for each packet, so
//! each connection gets an interface to itself ([`tcp`]). Towards the world there are only the host's ordinary sockets. What was
//! not taken: libslirp, in C and to be installed; passt, likewise and a process more; ipstack, which wants an
//! asynchronous runtime and leaves bounds to its user.
//!
//! There is no thread here: all is done in the calls that the device's thread makes, when the guest sends or when
//! [`Net::wake`] says that the host has something.

mod datagram;
mod dhcp;
mod icmp;
mod names;
mod outbox;
mod plan;
mod publish;
mod reassembly;
mod sockets;
mod stack;
mod tcp;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use base::{Bell, Buffer};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use virtio::back::{Header, Net, NetFacts, Offloads, Received, Sent};

pub use plan::Plan;
pub use publish::{NotAPort, Protocol, Publish};

use self::names::NameServers;
use self::stack::Stack;
use super::alarm::Alarm;
use super::{Frame, offload};

/// Why a user-mode network cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be published.
    #[error("cannot publish {port}: {error}{}", advice(.error))]
    Publish {
        /// The port.
        port: Publish,
        /// The host's word.
        error: io::Error,
    },
    /// The host has no descriptors left.
    #[error("cannot set up the user-mode network: {0}")]
    Host(#[from] io::Error),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: choose another port of the host's",
        io::ErrorKind::PermissionDenied => "; choose a port of the host's from 1024 up",
        io::ErrorKind::AddrNotAvailable => "; the host has no such address",
        _ => "",
    }
}

/// The network.
pub struct User {
    mac: [u8; 6],
    stack: Stack,
    poll: mio::Poll,
    events: mio::Events,
    /// What the device waits for: the host's sockets, the bell, the alarm.
    wake: Epoll,
    /// Rings while there is something for the guest.
    bell: Bell,
    alarm: Alarm,
    accepted: Offloads,
    /// Frames that the guest gets as they are.
    finished: VecDeque<Frame>,
    scratch: Vec<u8>,
}

impl User {
    /// A network for the guest of this hardware address. Gives the addresses at which ports are published, too.
    ///
    /// # Errors
    /// [`Error`] where a port cannot be published, or the host has no descriptors left.
    pub fn new(plan: Plan, mac: [u8; 6], ports: &[Publish]) -> Result<(Self, Vec<SocketAddr>), Error> {
        Self::with_names(plan, mac, ports, NameServers::new("/etc/resolv.conf", 53))
    }

    fn with_names(
        plan: Plan,
        mac: [u8; 6],
        ports: &[Publish],
        names: NameServers,
    ) -> Result<(Self, Vec<SocketAddr>), Error> {
        let poll = mio::Poll::new()?;
        let mut stack = Stack::new(plan, mac, names, poll.registry())?;
        let open = |port: &Publish| {
            let opened = stack.publish(port);
            opened.map_err(|error| Error::Publish { port: *port, error })
        };
        let published = ports.iter().map(open).collect::<Result<_, _>>()?;
        let (bell, alarm) = (Bell::new()?, Alarm::new()?);
        let wake = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        let readable = || EpollEvent::new(EpollFlags::EPOLLIN, 0);
        let sockets = fd_of(&poll);
        for fd in [sockets, bell.as_fd(), alarm.as_fd()] {
            wake.add(fd, readable()).map_err(io::Error::from)?;
        }
        let user = Self {
            mac,
            stack,
            poll,
            events: mio::Events::with_capacity(256),
            wake,
            bell,
            alarm,
            accepted: Offloads::empty(),
            finished: VecDeque::new(),
            scratch: vec![],
        };
        Ok((user, published))
    }

    /// What the host has, and what is due. True if there is more.
    fn work(&mut self) -> bool {
        self.alarm.answer();
        if let Err(error) = self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            // Only a signal can be the reason; the next round sees the same.
            tracing::debug!(%error, "epoll_wait");
        }
        let now = Instant::now();
        let full = self.events.iter().count() == 256;
        for event in &self.events {
            self.stack.event(event.token(), now);
        }
        self.stack.turn(now) || full
    }

    fn is_silent(&self) -> bool {
        self.stack.out.is_empty() && self.finished.is_empty()
    }
}

#[allow(unsafe_code)] // mio's selector lends its descriptor only as a number
fn fd_of(poll: &mio::Poll) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as the `Poll` that the result borrows.
    unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) }
}

impl Net for User {
    fn facts(&self) -> NetFacts {
        NetFacts {
            mac: self.mac,
            mtu: Plan::MTU as u16,
            from_guest: Offloads::CHECKSUM | Offloads::TSO4 | Offloads::ECN,
            to_guest: Offloads::CHECKSUM | Offloads::TSO4,
        }
    }

    fn accept(&mut self, to_guest: Offloads) {
        self.accepted = to_guest;
    }

    fn send(&mut self, _: &Header, frame: &Buffer) -> Sent {
        // A segment may be as large as IP takes it, and nothing looks at checksums.
        if let Ok(len) = usize::try_from(frame.len())
            && (Frame::SHORTEST..=Frame::LONGEST).contains(&len)
        {
            self.scratch.resize(len, 0);
            frame.read(0, &mut self.scratch);
            self.stack.input(&self.scratch, Instant::now());
        }
        Sent::Taken
    }

    fn flush(&mut self) {
        let busy = self.stack.turn(Instant::now());
        if busy || !self.is_silent() {
            self.bell.ring();
        }
        self.alarm.at(self.stack.deadline());
    }

    fn receive(&mut self, into: &Buffer) -> Received {
        let mut worked = false;
        loop {
            if let Some(frame) = self.finished.pop_front() {
                let len = frame.bytes.len() as u64;
                if len > into.len() {
                    continue;
                }
                into.write(0, &frame.bytes);
                return Received::Frame(frame.header, len);
            }
            if let Some(frame) = self.stack.out.pop() {
                let finished = &mut self.finished;
                // What we made ourselves is well-formed.
                let _ = offload::finish(frame, self.accepted, |frame| finished.push_back(frame));
                continue;
            }
            if !worked {
                worked = true;
                self.bell.answer();
                if self.work() {
                    self.bell.ring();
                }
                self.alarm.at(self.stack.deadline());
                continue;
            }
            return Received::Nothing;
        }
    }

    fn link(&self) -> bool {
        true
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.wake.0.as_fd()
    }
}
