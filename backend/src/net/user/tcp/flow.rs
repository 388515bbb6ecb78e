//! One TCP connection of the guest's: our end of it towards the guest is smoltcp's, the other is a socket of the
//! host's kernel, and bytes are carried between them.
//!
//! ```text
//!   guest ⇄ frames ⇄ smoltcp socket ⇄ ring buffers ⇄ host socket ⇄ the world
//! ```
//!
//! Neither side is told more than the other knows: the guest's SYN is answered once the host's connection stands,
//! and refused as that was; an end of the stream is passed on when the last byte before it was; a reset is passed on as
//! a reset. What one side does not take stays in the buffers, fills them, and closes the window of the other.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::time::Duration;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::IpEndpoint;

use super::wire::{Wire, interface};
use crate::net::user::outbox::Outbox;

/// How long the guest may leave bytes unacknowledged.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes carried in one turn, each way, before others have theirs.
const TURN: usize = 512 << 10;

/// The two ends of a flow as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The guest's.
    pub guest: SocketAddrV4,
    /// The other one.
    pub remote: SocketAddrV4,
}

/// How a turn left a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It waits: for the host's socket, the guest, or the time of [`Flow::deadline`].
    Waiting,
    /// There is more to carry at once.
    Busy,
    /// It waits for room in the outbox.
    Stalled,
    /// It is over.
    Over,
}

/// A flow whose host end is connected.
#[derive(Debug)]
pub struct Flow {
    host: TcpStream,
    interface: Boxed,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// The host said that there is no more.
    host_ended: bool,
    /// The host was told that there is no more.
    guest_ended: bool,
    /// The next time at which TCP has something to do.
    pub deadline: Option<Instant>,
    /// When the last segment or byte went by.
    pub used: Instant,
}

/// An interface, which does not describe itself.
struct Boxed(Box<Interface>);

impl std::fmt::Debug for Boxed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interface")
    }
}

impl Flow {
    fn new(host: TcpStream, ends: Ends, buffer: usize, now: Instant, out: &mut Outbox) -> Self {
        let interface = interface(*ends.remote.ip(), now, &mut Wire { input: None, out });
        let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
        socket.set_timeout(Some(PATIENCE.into()));
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(socket);
        Self {
            host,
            interface: Boxed(Box::new(interface)),
            sockets,
            handle,
            host_ended: false,
            guest_ended: false,
            deadline: None,
            used: now,
        }
    }

    /// A flow that the guest began with this packet, a SYN. It is answered in the next turn.
    pub fn accept(
        host: TcpStream,
        ends: Ends,
        syn: &[u8],
        buffer: usize,
        now: Instant,
        out: &mut Outbox,
    ) -> Self {
        let mut flow = Self::new(host, ends, buffer, now, out);
        let local = IpEndpoint::new((*ends.remote.ip()).into(), ends.remote.port());
        // It fails only for port 0, which then answers with a reset.
        let _ = flow.sockets.get_mut::<Socket>(flow.handle).listen(local);
        flow.input(syn, now, out);
        flow
    }

    /// A flow that someone on the host's side began. `None` where the ends cannot be.
    pub fn connect(
        host: TcpStream,
        ends: Ends,
        buffer: usize,
        now: Instant,
        out: &mut Outbox,
    ) -> Option<Self> {
        let mut flow = Self::new(host, ends, buffer, now, out);
        let guest = IpEndpoint::new((*ends.guest.ip()).into(), ends.guest.port());
        let local = IpEndpoint::new((*ends.remote.ip()).into(), ends.remote.port());
        let socket = flow.sockets.get_mut::<Socket>(flow.handle);
        socket.connect(flow.interface.0.context(), guest, local).ok()?;
        Some(flow)
    }

    /// The host's end.
    pub fn host(&mut self) -> &mut TcpStream {
        &mut self.host
    }

    /// Takes in an IP packet of the guest's. A [turn](Flow::turn) is to follow.
    pub fn input(&mut self, packet: &[u8], now: Instant, out: &mut Outbox) {
        self.used = now;
        self.interface.0.poll_ingress_single(now, &mut Wire { input: Some(packet), out }, &mut self.sockets);
    }

    /// Carries what there is to carry.
    pub fn turn(&mut self, now: Instant, out: &mut Outbox) -> Left {
        let carried = self.guest_to_host().and_then(|up| Ok(up + self.host_to_guest()?));
        let failed = carried.is_err();
        let carried = carried.unwrap_or(0);
        let socket = self.sockets.get_mut::<Socket>(self.handle);
        if failed {
            socket.abort();
        }
        if carried > 0 {
            self.used = now;
        }
        let mut wire = Wire { input: None, out };
        self.interface.0.poll(now, &mut wire, &mut self.sockets);
        let room = out.has_room();
        let socket = self.sockets.get_mut::<Socket>(self.handle);
        match socket.state() {
            State::Closed if failed && !room => {} // the reset is still to be sent
            State::Closed if self.host_ended && self.guest_ended => return Left::Over,
            State::Closed => {
                // Reset by the guest, or given up: the host's peer shall not take it for an end.
                let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
                let _ = setsockopt(&self.host, sockopt::Linger, &at_once);
                return Left::Over;
            }
            State::TimeWait => return Left::Over,
            _ => {}
        }
        let next = self.interface.0.poll_at(now, &self.sockets);
        self.deadline = next;
        match next {
            _ if carried >= TURN => Left::Busy,
            Some(at) if at <= now && !room => Left::Stalled,
            Some(at) if at <= now => Left::Busy,
            _ => Left::Waiting,
        }
    }

    /// The guest's bytes, and then its end, to the host.
    fn guest_to_host(&mut self) -> io::Result<usize> {
        let socket = self.sockets.get_mut::<Socket>(self.handle);
        let mut carried = 0;
        while socket.can_recv() && carried < TURN {
            let taken = socket.recv(|bytes| match self.host.write(bytes) {
                Ok(count) => (count, Ok(count)),
                Err(error) => (0, Err(error)),
            });
            match taken {
                Ok(Ok(count)) => carried += count,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        let ended =
            matches!(socket.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if ended && socket.recv_queue() == 0 && !self.guest_ended {
            self.guest_ended = true;
            // It fails where the host's peer has closed already, which a read will tell.
            let _ = self.host.shutdown(Shutdown::Write);
        }
        Ok(carried)
    }

    /// The host's bytes, and then its end, to the guest.
    fn host_to_guest(&mut self) -> io::Result<usize> {
        let socket = self.sockets.get_mut::<Socket>(self.handle);
        let mut carried = 0;
        while !self.host_ended && socket.can_send() && carried < TURN {
            let given = socket.send(|room| match self.host.read(room) {
                Ok(count) => (count, Ok(count)),
                Err(error) => (0, Err(error)),
            });
            match given {
                Ok(Ok(0)) => {
                    self.host_ended = true;
                    socket.close();
                }
                Ok(Ok(count)) => carried += count,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(carried)
    }
}
