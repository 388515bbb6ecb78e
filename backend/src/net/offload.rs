//! What a network card does to a frame on its way out, done here for receivers that cannot take it undone: cutting a
//! large segment into packets, and computing checksums.
//!
//! A sender that leaves this to others fills the checksum field with the sum of the pseudo header, as if the large
//! segment were a packet, and says in the [`Header`] where the checksum begins and goes (virtio 1.2, 5.1.6.2). Both
//! are claims: a guest makes them, or a neighbour on the switch. [`check`] is what makes them safe to act on.

use smoltcp::wire::checksum;
use virtio::back::{Header, Offloads};

use super::frame::Frame;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum is to be computed.
pub const NEEDS_CHECKSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_NONE`.
pub const NONE: u8 = 0;
/// `VIRTIO_NET_HDR_GSO_TCPV4`.
pub const TCPV4: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_TCPV6`.
pub const TCPV6: u8 = 4;
/// `VIRTIO_NET_HDR_GSO_UDP_L4`.
pub const UDP_L4: u8 = 5;
/// `VIRTIO_NET_HDR_GSO_ECN`: the first packet says that congestion was seen.
pub const ECN: u8 = 0x80;

/// The smallest segment that is cut: Linux's `TCP_MIN_SND_MSS`. It bounds what a frame can become.
const LEAST_SEGMENT: u16 = 48;

/// The header contradicts the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame's offload header contradicts the frame")]
pub struct Malformed;

/// A header that asks for the checksum of what begins at `start`.
pub fn checksummed(start: u16, offset: u16) -> Header {
    Header { flags: NEEDS_CHECKSUM, csum_start: start, csum_offset: offset, ..Header::default() }
}

/// Where the parts of a frame to be cut lie.
struct Layout {
    /// The IP header's place; the transport's is the header's `csum_start`.
    ip: usize,
    /// The payload's.
    payload: usize,
}

/// Checks that everything the header points to lies in the frame and is what it says.
///
/// # Errors
/// [`Malformed`] if not; the frame is to be dropped then.
pub fn check(header: &Header, frame: &[u8]) -> Result<(), Malformed> {
    if header.flags & NEEDS_CHECKSUM != 0 {
        let end = usize::from(header.csum_start) + usize::from(header.csum_offset) + 2;
        if end > frame.len() || usize::from(header.csum_start) < Frame::SHORTEST {
            return Err(Malformed);
        }
    }
    match header.gso_type & !ECN {
        NONE => Ok(()),
        _ => layout(header, frame).map(|_| ()),
    }
}

fn byte(frame: &[u8], at: usize) -> Result<u8, Malformed> {
    frame.get(at).copied().ok_or(Malformed)
}

fn word(frame: &[u8], at: usize) -> Result<u16, Malformed> {
    Ok(u16::from_be_bytes([byte(frame, at)?, byte(frame, at + 1)?]))
}

fn layout(header: &Header, frame: &[u8]) -> Result<Layout, Malformed> {
    let transport = usize::from(header.csum_start);
    if header.flags & NEEDS_CHECKSUM == 0 || header.gso_size < LEAST_SEGMENT || frame.len() > Frame::LONGEST {
        return Err(Malformed);
    }
    let (ip, kind) = match word(frame, 12)? {
        0x8100 => (18, word(frame, 16)?),
        kind => (14, kind),
    };
    let version = byte(frame, ip)? >> 4;
    let (protocol, starts_right) = match (kind, version) {
        (0x0800, 4) => (byte(frame, ip + 9)?, ip + usize::from(byte(frame, ip)? & 15) * 4 == transport),
        // What lies between may be extension headers; the sender knows.
        (0x86dd, 6) => (byte(frame, ip + 6)?, ip + 40 <= transport),
        _ => return Err(Malformed),
    };
    let wanted = match (header.gso_type & !ECN, version) {
        (TCPV4, 4) | (TCPV6, 6) => 6,
        (UDP_L4, _) => 17,
        _ => return Err(Malformed),
    };
    let extended = version == 6 && ip + 40 < transport;
    let (header_len, field) = match wanted {
        6 => (usize::from(byte(frame, transport + 12)? >> 4) * 4, 16),
        _ => (8, 6),
    };
    let least = if wanted == 6 { 20 } else { 8 };
    let payload = transport + header_len;
    let right = starts_right
        && (protocol == wanted || extended)
        && header.csum_offset == field
        && transport >= ip + 20
        && header_len >= least
        && payload < frame.len();
    if right { Ok(Layout { ip, payload }) } else { Err(Malformed) }
}

/// Does to a frame what its receiver, who takes the `accepted` offloads, cannot; hands on what comes of it.
///
/// # Errors
/// [`Malformed`] as [`check`] has it; nothing is handed on then.
pub fn finish(mut frame: Frame, accepted: Offloads, mut hand_on: impl FnMut(Frame)) -> Result<(), Malformed> {
    check(&frame.header, &frame.bytes)?;
    let kind = frame.header.gso_type & !ECN;
    let taken = match kind {
        NONE => true,
        TCPV4 => accepted.contains(Offloads::TSO4),
        TCPV6 => accepted.contains(Offloads::TSO6),
        _ => match word(&frame.bytes, 12)? {
            0x86dd => accepted.contains(Offloads::USO6),
            _ => accepted.contains(Offloads::USO4),
        },
    };
    let ecn = frame.header.gso_type & ECN == 0 || accepted.contains(Offloads::ECN);
    let sum = !accepted.contains(Offloads::CHECKSUM);
    if !taken || !ecn || (kind != NONE && sum) {
        return segment(&frame, sum, hand_on);
    }
    if sum {
        complete(&mut frame);
    }
    hand_on(frame);
    Ok(())
}

/// Computes the checksum that is still to be computed.
fn complete(frame: &mut Frame) {
    let Header { flags, csum_start, csum_offset, .. } = frame.header;
    if flags & NEEDS_CHECKSUM != 0 {
        let (start, at) = (usize::from(csum_start), usize::from(csum_start) + usize::from(csum_offset));
        // For UDP zero means that there is no checksum; its other representation is as good for TCP.
        let sum = match !checksum::data(&frame.bytes[start..]) {
            0 => 0xffff,
            sum => sum,
        };
        frame.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame.header = Header::default();
}

fn segment(frame: &Frame, sum: bool, mut hand_on: impl FnMut(Frame)) -> Result<(), Malformed> {
    const FIN_PSH: u8 = 0x09;
    const CWR: u8 = 0x80;
    let header = frame.header;
    let Layout { ip, payload } = layout(&header, &frame.bytes)?;
    let transport = usize::from(header.csum_start);
    let (headers, data) = frame.bytes.split_at(payload);
    let count = data.len().div_ceil(usize::from(header.gso_size));
    // The field holds the pseudo header's sum with the whole length in it; each packet's has its own.
    let at = transport + usize::from(header.csum_offset);
    let whole = (frame.bytes.len() - transport) as u32;
    for (number, piece) in data.chunks(usize::from(header.gso_size)).enumerate() {
        let mut bytes = Vec::with_capacity(payload + piece.len());
        bytes.extend_from_slice(headers);
        bytes.extend_from_slice(piece);
        let len = bytes.len();
        if headers[ip] >> 4 == 4 {
            let ident = word(headers, ip + 4)?.wrapping_add(number as u16);
            put(&mut bytes, ip + 2, (len - ip) as u16);
            put(&mut bytes, ip + 4, ident);
            put(&mut bytes, ip + 10, 0);
            let sum = !checksum::data(&bytes[ip..transport]);
            put(&mut bytes, ip + 10, sum);
        } else {
            put(&mut bytes, ip + 4, (len - ip - 40) as u16);
        }
        if header.gso_type & !ECN == UDP_L4 {
            put(&mut bytes, transport + 4, (len - transport) as u16);
        } else {
            let first = u32::from_be_bytes([0, 1, 2, 3].map(|at| headers[transport + 4 + at]));
            let sequence = first.wrapping_add((number * usize::from(header.gso_size)) as u32);
            bytes[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
            if number > 0 {
                bytes[transport + 13] &= !CWR;
            }
            if number + 1 < count {
                bytes[transport + 13] &= !FIN_PSH;
            }
        }
        let pseudo = checksum::combine(&[word(headers, at)?, !fold(whole), fold((len - transport) as u32)]);
        put(&mut bytes, at, pseudo);
        let mut packet = Frame { header: checksummed(header.csum_start, header.csum_offset), bytes };
        if sum {
            complete(&mut packet);
        }
        hand_on(packet);
    }
    Ok(())
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// A length as the pseudo header's sum has it.
fn fold(len: u32) -> u16 {
    checksum::combine(&[(len >> 16) as u16, len as u16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::{EthernetFrame, IpAddress, Ipv4Packet, TcpPacket, UdpPacket};
    use std::net::Ipv4Addr;

    const FROM: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
    const TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// A frame with a large segment as Linux leaves it.
    fn large(udp: bool, payload: &[u8], size: u16) -> Frame {
        let (protocol, header_len, field) = if udp { (17u8, 8, 6u16) } else { (6, 20, 16) };
        let mut bytes = vec![0; 34 + header_len];
        bytes.extend_from_slice(payload);
        let mut ethernet = EthernetFrame::new_unchecked(&mut bytes);
        ethernet.set_ethertype(smoltcp::wire::EthernetProtocol::Ipv4);
        let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_total_len((20 + header_len + payload.len()) as u16);
        packet.set_ident(7);
        packet.set_next_header(protocol.into());
        packet.set_src_addr(FROM);
        packet.set_dst_addr(TO);
        packet.fill_checksum();
        let len = (header_len + payload.len()) as u32;
        let pseudo = checksum::pseudo_header_v4(&FROM, &TO, protocol.into(), len);
        if udp {
            let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
            datagram.set_len(len as u16);
            datagram.set_checksum(pseudo);
        } else {
            let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
            segment.set_seq_number(smoltcp::wire::TcpSeqNumber(-100));
            segment.set_header_len(20);
            segment.set_ack(true);
            segment.set_psh(true);
            segment.set_fin(true);
            segment.set_checksum(pseudo);
        }
        let kind = if udp { UDP_L4 } else { TCPV4 };
        Frame {
            header: Header { gso_type: kind, gso_size: size, hdr_len: 54, ..checksummed(34, field) },
            bytes,
        }
    }

    fn finished(frame: Frame, accepted: Offloads) -> Result<Vec<Frame>, Malformed> {
        let mut frames = vec![];
        finish(frame, accepted, |frame| frames.push(frame)).map(|()| frames)
    }

    proptest! {
        #[test]
        fn the_packets_of_a_segment_are_right(udp: bool, len in 1usize..60_000, size in 48u16..9000, sum: bool) {
            let payload: Vec<u8> = (0..len).map(|at| (at * 31 % 255) as u8).collect();
            let accepted = if sum { Offloads::CHECKSUM } else { Offloads::empty() };
            let frames = finished(large(udp, &payload, size), accepted).unwrap();
            prop_assert_eq!(frames.len(), len.div_ceil(size.into()));
            let (mut again, last) = (vec![], frames.len() - 1);
            for (number, mut frame) in frames.into_iter().enumerate() {
                prop_assert_eq!(frame.header.flags, u8::from(sum));
                complete(&mut frame);
                let ethernet = EthernetFrame::new_checked(&frame.bytes[..]).unwrap();
                let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                prop_assert!(packet.verify_checksum());
                prop_assert_eq!(packet.ident(), 7 + number as u16);
                let (from, to) = (IpAddress::Ipv4(FROM), IpAddress::Ipv4(TO));
                if udp {
                    let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
                    prop_assert!(datagram.verify_checksum(&from, &to));
                    again.extend_from_slice(datagram.payload());
                } else {
                    let segment = TcpPacket::new_checked(packet.payload()).unwrap();
                    prop_assert!(segment.verify_checksum(&from, &to));
                    prop_assert_eq!(segment.seq_number().0, -100 + again.len() as i32);
                    prop_assert_eq!((segment.fin(), segment.psh(), segment.ack()), (number == last, number == last, true));
                    again.extend_from_slice(segment.payload());
                }
            }
            prop_assert_eq!(again, payload);
        }

        #[test]
        fn no_header_makes_it_panic(mut frame in prop::collection::vec(any::<u8>(), 0..200), flags: u8, kind: u8,
            size: u16, start in 0u16..220, offset in 0u16..220, accepted: u32, version in 0u8..3) {
            if frame.len() > 20 && version > 0 {
                frame[12..14].copy_from_slice(if version == 1 { &[8, 0] } else { &[0x86, 0xdd] });
                frame[14] = if version == 1 { 0x45 } else { 0x60 };
            }
            let header = Header { flags, gso_type: kind, hdr_len: 0, gso_size: size, csum_start: start, csum_offset: offset };
            let mut count = 0;
            let result = finish(Frame { header, bytes: frame.clone() }, Offloads::from_bits_truncate(accepted), |_| count += 1);
            prop_assert!(result.is_ok() || count == 0);
            prop_assert!(count <= 1 + frame.len() / 48);
        }
    }

    #[test]
    fn what_is_accepted_goes_on_as_it_is() {
        let frame = large(false, &[1; 5000], 1448);
        let accepted = Offloads::CHECKSUM | Offloads::TSO4;
        assert_eq!(finished(frame.clone(), accepted).unwrap(), std::slice::from_ref(&frame));
        assert_eq!(finished(frame, Offloads::CHECKSUM).unwrap().len(), 4);
    }

    #[test]
    fn contradictions_are_found() {
        let good = large(false, &[1; 5000], 1448);
        let bad = |change: fn(&mut Frame)| {
            let mut frame = good.clone();
            change(&mut frame);
            finished(frame, Offloads::all()).is_err()
        };
        assert!(!bad(|_| {}));
        assert!(bad(|frame| frame.header.flags = 0), "no checksum, so no place of the headers");
        assert!(bad(|frame| frame.header.gso_size = 0));
        assert!(bad(|frame| frame.header.gso_size = 47));
        assert!(bad(|frame| frame.header.gso_type = 3), "fragments of UDP, which nobody does any more");
        assert!(bad(|frame| frame.header.gso_type = TCPV6));
        assert!(bad(|frame| frame.header.gso_type = UDP_L4));
        assert!(bad(|frame| frame.header.csum_start = 30));
        assert!(bad(|frame| frame.header.csum_offset = 6));
        assert!(bad(|frame| frame.bytes[46] = 0xf0 & 0x40), "a header shorter than TCP's");
        assert!(bad(|frame| frame.bytes.truncate(54)), "nothing to cut");
        assert!(bad(|frame| frame.bytes[12] = 9));
    }
}
