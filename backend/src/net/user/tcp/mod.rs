//! The guest's TCP connections.
//!
//! Each has an end of its own ([`flow`]), found by its addresses in a table, so that a packet costs the same however
//! many there are. Of those there are at most [`Table::MOST`]; when one more is wanted, that which was silent
//! the longest is reset. A guest that opens connections without end thus closes its own.

mod flow;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use mio::net::TcpStream;
use mio::{Interest, Token};
use smoltcp::iface::{Interface, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{Ipv4Packet, TcpPacket};

pub use self::flow::Ends;
use self::flow::{Flow, Left};
use self::wire::{Wire, interface};
use super::outbox::Outbox;
use super::sockets::Sockets;

/// A flow, or one to be.
#[derive(Debug)]
enum Entry {
    /// The host connects; the guest's SYN waits.
    Connecting { host: TcpStream, syn: Vec<u8>, since: Instant },
    /// The flow stands.
    Open(Box<Flow>),
}

/// What the guest is told of a connection that could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens: a reset.
    Refused,
    /// There is no way there.
    Unreachable,
}

/// All connections.
pub struct Table {
    entries: HashMap<Token, (Ends, Entry)>,
    tokens: HashMap<Ends, Token>,
    /// When TCP has something to do.
    deadlines: BTreeSet<(Instant, Token)>,
    /// Those that want a turn.
    due: BTreeSet<Token>,
    /// Those that wait for room in the outbox.
    stalled: BTreeSet<Token>,
    /// Answers what belongs to no connection: with a reset.
    nobody: Option<(Ipv4Addr, Interface)>,
}

impl Table {
    /// The most connections.
    pub const MOST: usize = 512;
    /// So many get a [large](Self::LARGE) buffer each way, the others a [small](Self::SMALL) one.
    const FAST: usize = 64;
    const LARGE: usize = 256 << 10;
    const SMALL: usize = 32 << 10;

    /// No connections.
    pub fn new() -> Self {
        Self {
            entries: HashMap::new(),
            tokens: HashMap::new(),
            deadlines: BTreeSet::new(),
            due: BTreeSet::new(),
            stalled: BTreeSet::new(),
            nobody: None,
        }
    }

    fn buffer(&self) -> usize {
        if self.entries.len() < Self::FAST { Self::LARGE } else { Self::SMALL }
    }

    /// Takes in an IP packet of the guest's that holds a segment, for `host`, or for nobody.
    pub fn input(
        &mut self,
        packet: &[u8],
        host: Option<SocketAddr>,
        now: Instant,
        sockets: &mut Sockets,
        out: &mut Outbox,
    ) {
        let Ok(ip) = Ipv4Packet::new_checked(packet) else { return };
        let Ok(segment) = TcpPacket::new_checked(ip.payload()) else { return };
        let ends = Ends {
            guest: SocketAddrV4::new(ip.src_addr(), segment.src_port()),
            remote: SocketAddrV4::new(ip.dst_addr(), segment.dst_port()),
        };
        let first = segment.syn() && !segment.ack() && !segment.rst();
        match self.tokens.get(&ends) {
            Some(token) => {
                if let Some((_, Entry::Open(flow))) = self.entries.get_mut(token) {
                    flow.input(packet, now, out);
                    self.due.insert(*token);
                }
                // While the host connects, the guest says its SYN again, or gives up and is forgotten.
            }
            None if first => match host.map(TcpStream::connect) {
                Some(Ok(host)) => {
                    let entry = Entry::Connecting { host, syn: packet.to_vec(), since: now };
                    if self.insert(ends, entry, now, sockets).is_err() {
                        self.refuse(packet, now, out);
                    }
                }
                _ => self.refuse(packet, now, out),
            },
            None => self.refuse(packet, now, out),
        }
    }

    /// Makes a connection to the guest, for a peer who came to a published port.
    pub fn connect(
        &mut self,
        host: TcpStream,
        ends: Ends,
        now: Instant,
        sockets: &mut Sockets,
        out: &mut Outbox,
    ) {
        if self.tokens.contains_key(&ends) {
            return; // two peers that look the same to the guest; the second is hung up on
        }
        let Some(flow) = Flow::connect(host, ends, self.buffer(), now, out) else { return };
        if let Ok(token) = self.insert(ends, Entry::Open(Box::new(flow)), now, sockets) {
            self.due.insert(token);
        }
    }

    fn insert(
        &mut self,
        ends: Ends,
        mut entry: Entry,
        now: Instant,
        sockets: &mut Sockets,
    ) -> io::Result<Token> {
        if self.entries.len() >= Self::MOST {
            self.evict(now);
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = match &mut entry {
            Entry::Connecting { host, .. } => sockets.add(host, interest)?,
            Entry::Open(flow) => sockets.add(flow.host(), interest)?,
        };
        self.entries.insert(token, (ends, entry));
        self.tokens.insert(ends, token);
        Ok(token)
    }

    /// Closes the connection that was silent the longest.
    fn evict(&mut self, now: Instant) {
        let used = |entry: &Entry| match entry {
            Entry::Connecting { since, .. } => *since,
            Entry::Open(flow) => flow.used,
        };
        let oldest = self.entries.iter().min_by_key(|(_, (_, entry))| used(entry)).map(|(token, _)| *token);
        if let Some(token) = oldest {
            tracing::debug!(now = now.total_millis(), "too many connections: one that was silent is closed");
            self.remove(token);
        }
    }

    fn remove(&mut self, token: Token) {
        if let Some((ends, entry)) = self.entries.remove(&token) {
            self.tokens.remove(&ends);
            if let Entry::Open(flow) = entry {
                flow.deadline.map(|at| self.deadlines.remove(&(at, token)));
            }
        }
        self.due.remove(&token);
        self.stalled.remove(&token);
    }

    /// Answers a packet that belongs to no connection.
    fn refuse(&mut self, packet: &[u8], now: Instant, out: &mut Outbox) {
        let Ok(ip) = Ipv4Packet::new_checked(packet) else { return };
        let address = ip.dst_addr();
        let mut wire = Wire { input: Some(packet), out };
        let fitting = self.nobody.take().filter(|(at, _)| *at == address);
        let (_, mut nobody) = fitting.unwrap_or_else(|| (address, interface(address, now, &mut wire)));
        nobody.poll_ingress_single(now, &mut wire, &mut SocketSet::new(vec![]));
        self.nobody = Some((address, nobody));
    }

    /// Something happened to the host's end of a connection. The packet for which it could not be made, if so.
    pub fn event(&mut self, token: Token, now: Instant, out: &mut Outbox) -> Option<(Failure, Vec<u8>)> {
        let buffer = self.buffer();
        let (ends, entry) = self.entries.get_mut(&token)?;
        if let Entry::Connecting { host, .. } = entry {
            let error = host.take_error().ok().flatten();
            match (error, host.peer_addr()) {
                (None, Ok(_)) => {}
                (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => return None,
                (Some(error), _) | (None, Err(error)) => {
                    let (_, Entry::Connecting { syn, .. }) = self.entries.remove(&token)? else {
                        return None;
                    };
                    self.tokens.retain(|_, other| *other != token);
                    return match error.kind() {
                        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                            self.refuse(&syn, now, out);
                            Some((Failure::Refused, syn))
                        }
                        _ => Some((Failure::Unreachable, syn)),
                    };
                }
            }
            let ends = *ends;
            let (_, Entry::Connecting { host, syn, .. }) = self.entries.remove(&token)? else { return None };
            let _ = host.set_nodelay(true);
            let flow = Flow::accept(host, ends, &syn, buffer, now, out);
            self.entries.insert(token, (ends, Entry::Open(Box::new(flow))));
        }
        self.due.insert(token);
        None
    }

    /// Gives a turn to every connection that wants one. True if some want another at once.
    pub fn turn(&mut self, now: Instant, out: &mut Outbox) -> bool {
        if out.has_room() {
            self.due.append(&mut self.stalled);
        }
        while let Some(&(at, token)) = self.deadlines.first() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            self.due.insert(token);
        }
        for token in std::mem::take(&mut self.due) {
            let Some((_, Entry::Open(flow))) = self.entries.get_mut(&token) else { continue };
            flow.deadline.map(|at| self.deadlines.remove(&(at, token)));
            let left = flow.turn(now, out);
            match left {
                Left::Over => self.remove(token),
                Left::Busy => {
                    self.due.insert(token);
                }
                Left::Stalled => {
                    self.stalled.insert(token);
                }
                Left::Waiting => {}
            }
            if let (Left::Waiting, Some((_, Entry::Open(flow)))) = (left, self.entries.get(&token)) {
                flow.deadline.map(|at| self.deadlines.insert((at, token)));
            }
        }
        !self.due.is_empty()
    }

    /// The next time at which a turn is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Connections, made or being made.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
