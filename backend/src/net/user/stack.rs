//! The other side of the guest's cable: reads its frames and sends them where they belong.
//!
//! ```text
//!   frame ─ Ethernet ─┬─ ARP: the gateway and the resolver answer
//!                     └─ IPv4 ─┬─ TCP ── tcp: a host socket each
//!                              ├─ UDP ─┬─ port 67: dhcp
//!                              │       ├─ the resolver's port 53: names
//!                              │       ├─ answers to peers of published ports
//!                              │       └─ datagram: a host socket each
//!                              └─ ICMP echo ── datagram
//! ```
//!
//! Every field of a frame is a claim. smoltcp's checked packets decide whether it is one at all; what
//! bears an address that is not the guest's is dropped.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::{Registry, Token};
use smoltcp::time::Instant as Tick;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Message,
    Icmpv4Packet, IpProtocol, Ipv4Packet, UdpPacket,
};

use super::datagram::{self, Kind, News};
use super::dhcp;
use super::icmp::{self, Reason};
use super::names::NameServers;
use super::outbox::Outbox;
use super::plan::{Destination, Plan};
use super::publish::{Doors, Publish, Visitor};
use super::reassembly::Reassembly;
use super::sockets::Sockets;
use super::tcp::{self, Failure};

/// The port of name servers.
const NAMES: u16 = 53;
/// How often unused flows are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// All of it, but for the waiting.
pub struct Stack {
    plan: Plan,
    sockets: Sockets,
    names: NameServers,
    reassembly: Reassembly,
    tcp: tcp::Table,
    datagrams: datagram::Table,
    doors: Doors,
    /// Frames for the guest.
    pub out: Outbox,
    began: Instant,
    swept: Instant,
}

impl Stack {
    /// A network for the guest of this hardware address, with the host's sockets in that registry.
    ///
    /// # Errors
    /// Where the host has no descriptor left.
    pub fn new(plan: Plan, guest: [u8; 6], names: NameServers, registry: &Registry) -> std::io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            plan,
            sockets: Sockets::new(registry)?,
            names,
            reassembly: Reassembly::default(),
            tcp: tcp::Table::new(),
            datagrams: datagram::Table::default(),
            doors: Doors::default(),
            out: Outbox::new(guest),
            began: now,
            swept: now,
        })
    }

    /// Opens a port of the host's to the guest. Gives the address it got.
    ///
    /// # Errors
    /// The host's.
    pub fn publish(&mut self, port: &Publish) -> std::io::Result<SocketAddr> {
        self.doors.open(port, &mut self.sockets)
    }

    fn tick(&self, now: Instant) -> Tick {
        let since = now.saturating_duration_since(self.began);
        Tick::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Takes in a frame of the guest's. A [turn](Self::turn) is to follow, after as many as there are.
    pub fn input(&mut self, frame: &[u8], now: Instant) {
        let Ok(frame) = EthernetFrame::new_checked(frame) else { return };
        let (from, to) = (frame.src_addr(), frame.dst_addr());
        if !from.is_unicast() || from == EthernetAddress(Plan::MAC) {
            return;
        }
        if to.is_unicast() && to != EthernetAddress(Plan::MAC) {
            return;
        }
        self.out.learn(from);
        match frame.ethertype() {
            EthernetProtocol::Arp => self.arp(frame.payload()),
            EthernetProtocol::Ipv4 => self.ipv4(frame.payload(), now),
            _ => {}
        }
    }

    fn arp(&mut self, packet: &[u8]) {
        let parsed = ArpPacket::new_checked(packet).and_then(|packet| ArpRepr::parse(&packet));
        let Ok(ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        }) = parsed
        else {
            return;
        };
        if target_protocol_addr != self.plan.gateway() && target_protocol_addr != self.plan.resolver() {
            return; // nobody else is here; nor does a guest that asks for its own address find another
        }
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(Plan::MAC),
            source_protocol_addr: target_protocol_addr,
            target_hardware_addr: source_hardware_addr,
            target_protocol_addr: source_protocol_addr,
        };
        self.out.ethernet(EthernetProtocol::Arp, reply.buffer_len(), |bytes| {
            reply.emit(&mut ArpPacket::new_unchecked(bytes));
        });
    }

    fn ipv4(&mut self, bytes: &[u8], now: Instant) {
        let Ok(packet) = Ipv4Packet::new_checked(bytes) else { return };
        if packet.version() != 4 || !packet.verify_checksum() {
            return;
        }
        let bytes = &bytes[..usize::from(packet.total_len())]; // the rest is Ethernet's padding
        let (source, target, protocol) = (packet.src_addr(), packet.dst_addr(), packet.next_header());
        if !self.plan.is_guest(source) && !source.is_unspecified() {
            return;
        }
        let whole;
        let fragmented = packet.more_frags() || packet.frag_offset() != 0;
        let payload = if fragmented {
            match self.reassembly.add(&packet, now) {
                Some(payload) => {
                    whole = payload;
                    &whole[..]
                }
                None => return,
            }
        } else {
            packet.payload()
        };
        match protocol {
            IpProtocol::Udp => self.udp(source, target, payload, bytes, now),
            _ if source.is_unspecified() => {}
            IpProtocol::Icmp => self.echo(source, target, payload, bytes, now),
            IpProtocol::Tcp if !fragmented => {
                let Some(port) = payload.get(2..4).map(|port| u16::from_be_bytes([port[0], port[1]])) else {
                    return;
                };
                let host = self.host(target, port, now);
                let tick = self.tick(now);
                self.tcp.input(bytes, host, tick, &mut self.sockets, &mut self.out);
            }
            _ => {}
        }
    }

    /// Where a destination lies, if the guest may go there.
    fn host(&mut self, target: Ipv4Addr, port: u16, now: Instant) -> Option<SocketAddr> {
        match self.plan.destination(target) {
            Destination::Host(address) => Some(SocketAddr::new(address, port)),
            Destination::Resolver if port == NAMES => Some(self.names.current(now)),
            Destination::Resolver | Destination::Gateway | Destination::Forbidden => None,
        }
    }

    fn udp(&mut self, source: Ipv4Addr, target: Ipv4Addr, payload: &[u8], packet: &[u8], now: Instant) {
        let Ok(datagram) = UdpPacket::new_checked(payload) else { return };
        let (from, to) = (datagram.src_port(), datagram.dst_port());
        if to == dhcp::SERVER_PORT && (target.is_broadcast() || target == self.plan.gateway()) {
            if let Some(answer) = dhcp::answer(&self.plan, datagram.payload()) {
                let from = SocketAddrV4::new(self.plan.gateway(), dhcp::SERVER_PORT);
                self.out.udp(from, SocketAddrV4::new(answer.target, dhcp::CLIENT_PORT), &answer.message);
            }
            return;
        }
        let silent = target.is_broadcast() || target.is_multicast() || target.octets()[3] == 255;
        if source.is_unspecified() || from == 0 || to == 0 {
            return;
        }
        let remote = SocketAddrV4::new(target, to);
        if self.doors.answer(from, remote, datagram.payload()) {
            return;
        }
        let ends = datagram::Ends { kind: Kind::Udp, guest: SocketAddrV4::new(source, from), remote };
        if self.plan.destination(target) == Destination::Resolver
            && self.datagrams.waits(&ends, now).is_some_and(|waited| waited > NameServers::PATIENCE)
        {
            self.names.next();
        }
        match self.host(target, to, now) {
            Some(host) => self.send(ends, host, datagram.payload(), packet, now),
            None if silent => {}
            None => icmp::unreachable(&mut self.out, self.plan.gateway(), Reason::Prohibited, packet),
        }
    }

    fn echo(&mut self, source: Ipv4Addr, target: Ipv4Addr, message: &[u8], packet: &[u8], now: Instant) {
        let Ok(request) = Icmpv4Packet::new_checked(message) else { return };
        if request.msg_type() != Icmpv4Message::EchoRequest || message.len() < 8 {
            return;
        }
        if target == self.plan.gateway() || target == self.plan.resolver() {
            let mut reply = message.to_vec();
            let mut icmp = Icmpv4Packet::new_unchecked(&mut reply[..]);
            icmp.set_msg_type(Icmpv4Message::EchoReply);
            icmp.fill_checksum();
            return self.out.ipv4(target, source, IpProtocol::Icmp, &reply);
        }
        let guest = SocketAddrV4::new(source, request.echo_ident());
        let ends = datagram::Ends { kind: Kind::Echo, guest, remote: SocketAddrV4::new(target, 0) };
        match self.host(target, 0, now) {
            Some(host) => self.send(ends, host, message, packet, now),
            None => icmp::unreachable(&mut self.out, self.plan.gateway(), Reason::Prohibited, packet),
        }
    }

    fn send(&mut self, ends: datagram::Ends, host: SocketAddr, message: &[u8], packet: &[u8], now: Instant) {
        let sent = self.datagrams.send(ends, host, message, now, &mut self.sockets);
        let Err(error) = sent else { return };
        tracing::debug!(%error, remote = %ends.remote, kind = ?ends.kind, "the host cannot send the guest's datagram");
        let reason = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Reason::Prohibited,
            _ => Reason::Host,
        };
        icmp::unreachable(&mut self.out, self.plan.gateway(), reason, packet);
    }

    /// Something happened to a socket of the host's.
    pub fn event(&mut self, token: Token, now: Instant) {
        let tick = self.tick(now);
        if let Some((Failure::Unreachable, syn)) = self.tcp.event(token, tick, &mut self.out) {
            icmp::unreachable(&mut self.out, self.plan.gateway(), Reason::Host, &syn);
        }
        if let News::Refused(ends) = self.datagrams.event(token, now, &mut self.out) {
            if self.plan.destination(*ends.remote.ip()) == Destination::Resolver {
                self.names.next();
            }
            icmp::unreachable_port(&mut self.out, ends.guest, ends.remote);
        }
        self.visit(token, now);
    }

    fn visit(&mut self, door: Token, now: Instant) {
        let tick = self.tick(now);
        for Visitor { stream, seen, guest } in self.doors.event(door, &self.plan, now, &mut self.out) {
            let ends = tcp::Ends { guest: SocketAddrV4::new(self.plan.guest(), guest), remote: seen };
            self.tcp.connect(stream, ends, tick, &mut self.sockets, &mut self.out);
        }
    }

    /// Carries what there is to carry. True if there is more, which others may go before.
    pub fn turn(&mut self, now: Instant) -> bool {
        let doors = self.doors.busy();
        for door in &doors {
            self.visit(*door, now);
        }
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.datagrams.sweep(now);
        }
        let datagrams = self.datagrams.turn(now, &mut self.out);
        let tick = self.tick(now);
        self.tcp.turn(tick, &mut self.out) || datagrams || !doors.is_empty()
    }

    /// TCP connections, made or being made.
    #[cfg(test)]
    pub fn flows(&self) -> usize {
        self.tcp.len()
    }

    /// When the next turn is due, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let micros = |tick: Tick| u64::try_from(tick.total_micros()).unwrap_or(0);
        let tcp = self.tcp.deadline().map(|tick| self.began + Duration::from_micros(micros(tick)));
        let sweep = (self.datagrams.len() > 0).then(|| self.swept + SWEEP);
        [tcp, sweep].into_iter().flatten().min()
    }
}
