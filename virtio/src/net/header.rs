//! The header before each frame in a queue (5.1.6): twelve bytes, of which the last two count the buffers that a
//! received frame is in.

use base::Buffer;

use crate::back::{Header, Offloads};

/// Its bytes.
pub(super) const LEN: u64 = 12;

const NEEDS_CHECKSUM: u8 = 1;
const TCPV4: u8 = 1;
const TCPV6: u8 = 4;
const UDP_L4: u8 = 5;
const ECN: u8 = 0x80;

/// Reads the header at the beginning of a buffer, once.
pub(super) fn read(buffer: &Buffer) -> Header {
    let mut bytes = [0; LEN as usize];
    buffer.read(0, &mut bytes);
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    Header {
        flags: bytes[0] & NEEDS_CHECKSUM,
        gso_type: bytes[1],
        hdr_len: word(2),
        gso_size: word(4),
        csum_start: word(6),
        csum_offset: word(8),
    }
}

/// The bytes of a header before a frame that lies in so many buffers.
pub(super) fn bytes(header: &Header, buffers: u16) -> [u8; LEN as usize] {
    let mut bytes = [0; LEN as usize];
    bytes[..2].copy_from_slice(&[header.flags, header.gso_type]);
    let words = [header.hdr_len, header.gso_size, header.csum_start, header.csum_offset, buffers];
    for (into, word) in bytes[2..].chunks_exact_mut(2).zip(words) {
        into.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// What a frame with this header leaves to its receiver; `None` if it is nothing that there is.
pub(super) fn leaves(header: &Header) -> Option<Offloads> {
    let mut leaves = Offloads::empty();
    leaves.set(Offloads::CHECKSUM, header.flags & NEEDS_CHECKSUM != 0);
    leaves |= match header.gso_type & !ECN {
        0 => Offloads::empty(),
        TCPV4 => Offloads::TSO4,
        TCPV6 => Offloads::TSO6,
        UDP_L4 => Offloads::USO4 | Offloads::USO6,
        _ => return None,
    };
    leaves.set(Offloads::ECN, header.gso_type & ECN != 0);
    Some(leaves)
}
