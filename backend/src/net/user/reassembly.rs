//! Fragments of the guest's IP packets, until they are whole (RFC 791, 3.2). Only datagrams come in fragments: TCP
//! finds the path's MTU, which is ours.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use smoltcp::wire::{IpProtocol, Ipv4Packet};

/// The packets of which fragments are here.
#[derive(Debug, Default)]
pub struct Reassembly {
    packets: Vec<Partial>,
}

/// Which packet a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: Ipv4Addr,
    target: Ipv4Addr,
    protocol: IpProtocol,
    ident: u16,
}

#[derive(Debug)]
struct Partial {
    key: Key,
    since: Instant,
    bytes: Vec<u8>,
    /// What is there, as ranges that neither touch nor overlap, in order.
    there: Vec<(usize, usize)>,
    /// How long it is, once the last fragment is here.
    len: Option<usize>,
}

impl Reassembly {
    /// So many packets at a time; the oldest goes.
    const MOST: usize = 16;
    /// A packet with more holes than this is an attack.
    const HOLES: usize = 64;
    /// How long a packet may take.
    const PATIENCE: Duration = Duration::from_secs(15);

    /// Takes a fragment in; gives the whole payload back if it was the last missing one.
    pub fn add(&mut self, packet: &Ipv4Packet<&[u8]>, now: Instant) -> Option<Vec<u8>> {
        self.packets.retain(|partial| now.saturating_duration_since(partial.since) < Self::PATIENCE);
        let key = Key {
            source: packet.src_addr(),
            target: packet.dst_addr(),
            protocol: packet.next_header(),
            ident: packet.ident(),
        };
        let at = self.packets.iter().position(|partial| partial.key == key).unwrap_or_else(|| {
            if self.packets.len() == Self::MOST {
                self.packets.remove(0);
            }
            self.packets.push(Partial { key, since: now, bytes: vec![], there: vec![], len: None });
            self.packets.len() - 1
        });
        let start = usize::from(packet.frag_offset());
        match self.packets[at].add(start, packet.payload(), packet.more_frags()) {
            Ok(false) => None,
            Ok(true) => Some(self.packets.remove(at).bytes),
            Err(Malformed) => {
                self.packets.remove(at);
                None
            }
        }
    }
}

/// The fragments contradict each other.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

impl Partial {
    /// True if it is whole now.
    fn add(&mut self, start: usize, piece: &[u8], more: bool) -> Result<bool, Malformed> {
        let end = start + piece.len();
        let ends_wrong = match self.len {
            Some(len) => end > len || (!more && end != len),
            None => !more && end < self.bytes.len(),
        };
        // An overlap is no accident either: it is how filters are evaded (RFC 5722, for IPv6).
        let overlaps = self.there.iter().any(|&(from, to)| start < to && from < end);
        if ends_wrong
            || overlaps
            || end > 65_515
            || (more && (piece.is_empty() || !piece.len().is_multiple_of(8)))
        {
            return Err(Malformed);
        }
        if !more {
            self.len = Some(end);
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(piece);
        self.insert(start, end);
        if self.there.len() > Reassembly::HOLES {
            return Err(Malformed);
        }
        Ok(self.len.is_some_and(|len| self.there == [(0, len)]))
    }

    fn insert(&mut self, start: usize, end: usize) {
        let at = self.there.partition_point(|&(from, _)| from < start);
        self.there.insert(at, (start, end));
        if at + 1 < self.there.len() && self.there[at + 1].0 == end {
            self.there[at].1 = self.there.remove(at + 1).1;
        }
        if at > 0 && self.there[at - 1].1 == start {
            self.there[at - 1].1 = self.there.remove(at).1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::user::outbox::Outbox;
    use proptest::prelude::*;
    use smoltcp::wire::EthernetFrame;

    fn fragments(payload: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Outbox::new([2; 6]);
        out.ipv4(Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(192, 0, 2, 1), IpProtocol::Udp, payload);
        std::iter::from_fn(|| out.pop())
            .map(|frame| EthernetFrame::new_checked(&frame.bytes[..]).unwrap().payload().to_vec())
            .collect()
    }

    proptest! {
        #[test]
        fn whatever_the_order_the_packet_comes_out_once(len in 1481usize..20_000, order in any::<u64>()) {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 % 253) as u8).collect();
            let mut pieces = fragments(&payload);
            let mut seed = order;
            for at in (1..pieces.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                pieces.swap(at, (seed >> 33) as usize % (at + 1));
            }
            let mut table = Reassembly::default();
            let now = Instant::now();
            let (last, rest) = pieces.split_last().unwrap();
            for piece in rest {
                prop_assert_eq!(table.add(&Ipv4Packet::new_checked(&piece[..]).unwrap(), now), None);
            }
            let whole = table.add(&Ipv4Packet::new_checked(&last[..]).unwrap(), now);
            prop_assert_eq!(whole, Some(payload));
            prop_assert!(table.packets.is_empty());
        }

        #[test]
        fn nothing_makes_it_grow_or_panic(pieces in prop::collection::vec(
            (0usize..8191, prop::collection::vec(any::<u8>(), 0..64), any::<bool>(), 0u16..40), 0..200)) {
            let mut table = Reassembly::default();
            let now = Instant::now();
            for (offset, payload, more, ident) in pieces {
                let mut bytes = vec![0; 20 + payload.len()];
                let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
                packet.set_version(4);
                packet.set_header_len(20);
                packet.set_total_len(20 + payload.len() as u16);
                packet.set_ident(ident);
                packet.set_more_frags(more);
                packet.set_frag_offset((offset * 8) as u16);
                packet.payload_mut().copy_from_slice(&payload);
                table.add(&Ipv4Packet::new_checked(&bytes[..]).unwrap(), now);
                prop_assert!(table.packets.len() <= Reassembly::MOST);
                prop_assert!(table.packets.iter().all(|packet| packet.bytes.len() <= 65_535 && packet.there.len() <= Reassembly::HOLES));
            }
        }
    }

    #[test]
    fn what_is_not_completed_in_time_is_forgotten() {
        let pieces = fragments(&[7; 3000]);
        let mut table = Reassembly::default();
        let now = Instant::now();
        let late = now + Reassembly::PATIENCE;
        for (piece, at) in [(0, now), (1, now), (2, late), (0, late), (1, late)] {
            let whole = table.add(&Ipv4Packet::new_checked(&pieces[piece][..]).unwrap(), at);
            assert_eq!(whole.is_some(), piece == 1 && at == late);
        }
    }
}
