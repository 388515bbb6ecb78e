//! UDP and pings: for each pair of ends that the guest uses, a connected socket of the host's, for as long as
//! datagrams go by. Connected, so that only the peer's answers come in, and that the host's kernel tells of
//! ICMP's errors, which are passed on.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket as Blocking};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Token};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, IpProtocol, UdpPacket};

use super::outbox::Outbox;
use super::sockets::Sockets;

/// What kind of datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UDP.
    Udp,
    /// An ICMP echo; the guest's port is the echo's identifier, the remote one is zero.
    Echo,
}

/// The ends of a flow as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The kind.
    pub kind: Kind,
    /// The guest's end.
    pub guest: SocketAddrV4,
    /// The other.
    pub remote: SocketAddrV4,
}

#[derive(Debug)]
struct Flow {
    ends: Ends,
    host: UdpSocket,
    to: SocketAddr,
    used: Instant,
    /// Since when an answer is awaited.
    unanswered: Option<Instant>,
}

/// What became of a flow of which there is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing to tell.
    Quiet,
    /// Answers were queued for the guest.
    Answered,
    /// The host's kernel says that the peer does not take it.
    Refused(Ends),
}

/// All flows.
#[derive(Debug, Default)]
pub struct Table {
    flows: HashMap<Token, Flow>,
    tokens: HashMap<Ends, Token>,
    /// Those with more than one turn's datagrams.
    busy: BTreeSet<Token>,
    buffer: Vec<u8>,
}

impl Table {
    /// The most flows; the one unused the longest goes.
    const MOST: usize = 256;
    /// A flow unused for so long is forgotten (RFC 4787, 4.3: two minutes and more; Linux: half a minute).
    const IDLE: Duration = Duration::from_secs(120);
    /// Datagrams of a flow in one turn.
    const TURN: usize = 64;

    /// Sends a datagram of the guest's: the payload for UDP, the ICMP message for an echo.
    ///
    /// # Errors
    /// The host's, where there is no socket to be had. What is lost later is lost, as datagrams are.
    pub fn send(
        &mut self,
        ends: Ends,
        to: SocketAddr,
        message: &[u8],
        now: Instant,
        sockets: &mut Sockets,
    ) -> io::Result<()> {
        // The name server may be another by now.
        let token = self.tokens.get(&ends).copied().filter(|token| self.flows[token].to == to);
        let token = match token {
            Some(token) => token,
            None => self.open(ends, to, now, sockets)?,
        };
        if let Some(flow) = self.flows.get_mut(&token) {
            flow.used = now;
            flow.unanswered.get_or_insert(now);
            // A full buffer loses it; an error of an earlier one is told by the event.
            let _ = flow.host.send(message);
        }
        Ok(())
    }

    /// How long the guest has waited for an answer on this flow.
    pub fn waits(&self, ends: &Ends, now: Instant) -> Option<Duration> {
        let flow = self.flows.get(self.tokens.get(ends)?)?;
        flow.unanswered.map(|since| now.saturating_duration_since(since))
    }

    fn open(&mut self, ends: Ends, to: SocketAddr, now: Instant, sockets: &mut Sockets) -> io::Result<Token> {
        if let Some(old) = self.tokens.get(&ends).copied() {
            self.remove(old);
        }
        if self.flows.len() >= Self::MOST {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(token, _)| *token);
            oldest.into_iter().for_each(|token| self.remove(token));
        }
        let mut host = open(ends.kind, to)?;
        let token = sockets.add(&mut host, Interest::READABLE)?;
        self.flows.insert(token, Flow { ends, host, to, used: now, unanswered: None });
        self.tokens.insert(ends, token);
        Ok(token)
    }

    fn remove(&mut self, token: Token) {
        if let Some(flow) = self.flows.remove(&token) {
            self.tokens.remove(&flow.ends);
        }
    }

    /// Something came for a flow: it is queued for the guest.
    pub fn event(&mut self, token: Token, now: Instant, out: &mut Outbox) -> News {
        let Some(flow) = self.flows.get_mut(&token) else { return News::Quiet };
        self.buffer.resize(usize::from(u16::MAX), 0);
        let mut news = News::Quiet;
        for _ in 0..Self::TURN {
            if !out.has_room() {
                break; // what the guest does not take in time, the host's kernel drops
            }
            match flow.host.recv(&mut self.buffer) {
                Ok(len) => {
                    flow.used = now;
                    flow.unanswered = None;
                    news = News::Answered;
                    deliver(&flow.ends, &mut self.buffer[..len], out);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return news,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    return News::Refused(flow.ends);
                }
                Err(_) => return news,
            }
        }
        self.busy.insert(token);
        news
    }

    /// Gives those a turn that had more than one turn's datagrams, or no room. True if there were any.
    pub fn turn(&mut self, now: Instant, out: &mut Outbox) -> bool {
        let busy = std::mem::take(&mut self.busy);
        let some = !busy.is_empty();
        for token in busy {
            self.event(token, now, out);
        }
        some
    }

    /// Forgets what is unused. Call it every few seconds.
    pub fn sweep(&mut self, now: Instant) {
        let idle = |flow: &Flow| now.saturating_duration_since(flow.used) > Self::IDLE;
        let idle: Vec<Token> =
            self.flows.iter().filter(|(_, flow)| idle(flow)).map(|(token, _)| *token).collect();
        idle.into_iter().for_each(|token| self.remove(token));
    }

    /// Flows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }
}

fn open(kind: Kind, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match kind {
        Kind::Udp => Blocking::bind(match to {
            SocketAddr::V4(_) => "0.0.0.0:0",
            SocketAddr::V6(_) => "[::]:0",
        })?,
        // The kernel's ping sockets: it chooses the identifier, and gives only its answers back.
        Kind::Echo => {
            let flags = SockFlag::SOCK_CLOEXEC;
            let fd: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, flags, SockProtocol::Icmp)?;
            Blocking::from(fd)
        }
    };
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    Ok(UdpSocket::from_std(socket))
}

fn deliver(ends: &Ends, message: &mut [u8], out: &mut Outbox) {
    let (from, to) = (*ends.remote.ip(), *ends.guest.ip());
    match ends.kind {
        Kind::Udp => out.udp(ends.remote, ends.guest, message),
        Kind::Echo => {
            let Ok(mut packet) = Icmpv4Packet::new_checked(message) else { return };
            if packet.msg_type() == Icmpv4Message::EchoReply {
                packet.set_echo_ident(ends.guest.port());
                packet.fill_checksum();
                out.ipv4(from, to, IpProtocol::Icmp, packet.into_inner());
            }
        }
    }
}

impl Outbox {
    /// Queues a datagram.
    pub fn udp(&mut self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let mut bytes = vec![0; 8 + payload.len()];
        let mut packet = UdpPacket::new_unchecked(&mut bytes[..]);
        packet.set_src_port(from.port());
        packet.set_dst_port(to.port());
        packet.set_len((8 + payload.len()).min(usize::from(u16::MAX)) as u16);
        packet.payload_mut().copy_from_slice(payload);
        packet.fill_checksum(&(*from.ip()).into(), &(*to.ip()).into());
        self.ipv4(*from.ip(), *to.ip(), IpProtocol::Udp, &bytes);
    }
}
