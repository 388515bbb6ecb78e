//! ICMP towards the guest: that something cannot be reached (RFC 792).

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket};

use super::outbox::Outbox;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no way to the host.
    Host = 1,
    /// Nobody listens at the port.
    Port = 3,
    /// The guest may not talk to it.
    Prohibited = 13,
}

/// Tells the guest that its packet, of which the header and the eight bytes behind it are needed, did not get there.
pub fn unreachable(out: &mut Outbox, from: Ipv4Addr, reason: Reason, packet: &[u8]) {
    let Ok(original) = Ipv4Packet::new_checked(packet) else { return };
    let target = original.src_addr();
    let quoted = packet.len().min(usize::from(original.header_len()) + 8);
    let mut message = vec![0; 8 + quoted];
    message[8..].copy_from_slice(&packet[..quoted]);
    let mut icmp = Icmpv4Packet::new_unchecked(&mut message[..]);
    icmp.set_msg_type(Icmpv4Message::DstUnreachable);
    icmp.set_msg_code(reason as u8);
    icmp.fill_checksum();
    out.ipv4(from, target, IpProtocol::Icmp, &message);
}

/// As [`unreachable`], for a datagram that is gone: its headers are made again.
pub fn unreachable_port(out: &mut Outbox, guest: SocketAddrV4, remote: SocketAddrV4) {
    let mut bytes = [0; 28];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    let repr = Ipv4Repr {
        src_addr: *guest.ip(),
        dst_addr: *remote.ip(),
        next_header: IpProtocol::Udp,
        payload_len: 8,
        hop_limit: 64,
    };
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    datagram.set_src_port(guest.port());
    datagram.set_dst_port(remote.port());
    datagram.set_len(8);
    unreachable(out, *remote.ip(), Reason::Port, &bytes);
}
