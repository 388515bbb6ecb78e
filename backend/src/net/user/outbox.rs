//! Frames on their way to the guest: bounded, and built in place.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet, Ipv4Repr,
    checksum,
};
use virtio::back::Header;

use super::plan::Plan;
use crate::net::{Frame, offload};

const ETHERNET: usize = 14;
const IPV4: usize = 20;

/// The queue of frames.
#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<Frame>,
    bytes: usize,
    guest: EthernetAddress,
    ident: u16,
}

impl Outbox {
    /// Bytes that wait for the guest before senders are told to stop.
    const ENOUGH: usize = 1 << 20;
    /// And frames.
    const MANY: usize = 1024;

    /// An empty one, for the guest of this hardware address.
    pub fn new(guest: [u8; 6]) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, guest: EthernetAddress(guest), ident: 0 }
    }

    /// Sends to this address from now on.
    pub fn learn(&mut self, guest: EthernetAddress) {
        self.guest = guest;
    }

    /// Is there room for another frame?
    pub fn has_room(&self) -> bool {
        self.bytes < Self::ENOUGH && self.frames.len() < Self::MANY
    }

    /// The next frame for the guest.
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Where there is no room, answers may still come; beyond twice of everything they are dropped.
    fn push(&mut self, header: Header, bytes: Vec<u8>) {
        if self.bytes >= 2 * Self::ENOUGH || self.frames.len() >= 2 * Self::MANY {
            return;
        }
        self.bytes += bytes.len();
        self.frames.push_back(Frame { header, bytes });
    }

    /// Queues a frame with a payload of `len` bytes, which `fill` writes. Also where there is no room for others:
    /// this is for answers to what the guest sent.
    pub fn ethernet<R>(
        &mut self,
        protocol: EthernetProtocol,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let mut bytes = vec![0; ETHERNET + len];
        let filled = self.build(protocol, &mut bytes, fill);
        self.push(Header::default(), bytes);
        filled
    }

    fn build<R>(&self, protocol: EthernetProtocol, bytes: &mut [u8], fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut frame = EthernetFrame::new_unchecked(bytes);
        let repr =
            EthernetRepr { src_addr: EthernetAddress(Plan::MAC), dst_addr: self.guest, ethertype: protocol };
        repr.emit(&mut frame);
        fill(frame.payload_mut())
    }

    /// Queues a segment of TCP: `fill` writes `len` bytes of an IP packet without the segment's checksum, of which
    /// the guest's network card is asked to compute the rest, and to cut the payload into pieces of
    /// `segments` bytes where that is given.
    pub fn tcp<R>(&mut self, len: usize, segments: Option<u16>, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut bytes = vec![0; ETHERNET + len];
        let filled = self.build(EthernetProtocol::Ipv4, &mut bytes, fill);
        let header = match bytes.get_mut(ETHERNET..) {
            Some(packet) if len >= IPV4 + 20 => leave_to_the_guest(packet, segments),
            _ => Header::default(),
        };
        self.push(header, bytes);
        filled
    }

    /// Queues an IP packet, in fragments if it must be. Dropped where there is no room.
    pub fn ipv4(&mut self, source: Ipv4Addr, target: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) {
        let most = (Plan::MTU - IPV4) / 8 * 8;
        self.ident = self.ident.wrapping_add(1);
        let count = payload.len().div_ceil(most).max(1);
        if !self.has_room() || payload.len() > usize::from(u16::MAX) - IPV4 {
            return;
        }
        let (ident, whole) = (self.ident, payload.len() + IPV4 <= Plan::MTU);
        for number in 0..count {
            let piece = match whole {
                true => payload,
                false => &payload[number * most..payload.len().min((number + 1) * most)],
            };
            self.ethernet(EthernetProtocol::Ipv4, IPV4 + piece.len(), |bytes| {
                let mut packet = Ipv4Packet::new_unchecked(bytes);
                let repr = Ipv4Repr {
                    src_addr: source,
                    dst_addr: target,
                    next_header: protocol,
                    payload_len: piece.len(),
                    hop_limit: 64,
                };
                repr.emit(&mut packet, &ChecksumCapabilities::ignored());
                packet.set_ident(ident);
                packet.set_dont_frag(false);
                packet.set_frag_offset((number * most) as u16);
                packet.set_more_frags(!whole && number + 1 < count);
                packet.fill_checksum();
                packet.payload_mut().copy_from_slice(piece);
            });
            if whole {
                break;
            }
        }
    }
}

/// Puts the pseudo header's sum where the checksum belongs, and says that the rest is to be done.
fn leave_to_the_guest(packet: &mut [u8], segments: Option<u16>) -> Header {
    let (source, target, len) = {
        let packet = Ipv4Packet::new_unchecked(&packet[..]);
        (packet.src_addr(), packet.dst_addr(), packet.total_len() - IPV4 as u16)
    };
    let sum = checksum::pseudo_header_v4(&source, &target, IpProtocol::Tcp, u32::from(len));
    packet[IPV4 + 16..IPV4 + 18].copy_from_slice(&sum.to_be_bytes());
    let header_len = (ETHERNET + IPV4) as u16 + u16::from(packet[IPV4 + 12] >> 4) * 4;
    let header = offload::checksummed((ETHERNET + IPV4) as u16, 16);
    match segments {
        Some(size) => Header { gso_type: offload::TCPV4, gso_size: size, hdr_len: header_len, ..header },
        None => header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const TO: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

    #[test]
    fn a_long_packet_goes_in_fragments() {
        for (len, pieces) in [(0, 1), (1, 1), (1480, 1), (1481, 2), (2960, 2), (2961, 3), (65_515, 45)] {
            let mut out = Outbox::new([2; 6]);
            let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            out.ipv4(FROM, TO, IpProtocol::Udp, &payload);
            let mut again = vec![];
            let mut frames = 0;
            while let Some(frame) = out.pop() {
                let ethernet = EthernetFrame::new_checked(&frame.bytes).unwrap();
                let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                assert!(packet.verify_checksum() && usize::from(packet.total_len()) <= Plan::MTU);
                assert_eq!(usize::from(packet.frag_offset()), again.len());
                again.extend_from_slice(packet.payload());
                frames += 1;
                assert_eq!(packet.more_frags(), frames < pieces);
            }
            assert_eq!((again, frames, out.bytes), (payload, pieces, 0), "{len}");
        }
    }

    #[test]
    fn it_is_bounded() {
        let mut out = Outbox::new([2; 6]);
        for _ in 0..100_000 {
            out.ipv4(FROM, TO, IpProtocol::Udp, &[0; 1400]);
        }
        assert!(out.bytes < Outbox::ENOUGH + 1500);
        let mut small = Outbox::new([2; 6]);
        for _ in 0..100_000 {
            small.ipv4(FROM, TO, IpProtocol::Udp, &[]);
        }
        assert_eq!(small.frames.len(), Outbox::MANY);
    }
}
