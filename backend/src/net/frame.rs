//! A frame outside of guest memory.

use base::Buffer;
use virtio::back::Header;

/// An Ethernet frame with what is still to be done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What is to be done.
    pub header: Header,
    /// The frame, without the checksum at its end.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Bytes of the longest frame: an IP packet of 64 KiB with its Ethernet header and a VLAN tag.
    pub const LONGEST: usize = 65_535 + 14 + 4;
    /// Bytes of the shortest that says anything: its addresses and type.
    pub const SHORTEST: usize = 14;

    /// A copy of a frame in guest memory; `None` if its length is not a frame's.
    pub fn copy(header: &Header, frame: &Buffer) -> Option<Self> {
        let len = usize::try_from(frame.len()).ok()?;
        if !(Self::SHORTEST..=Self::LONGEST).contains(&len) {
            return None;
        }
        let mut bytes = vec![0; len];
        frame.read(0, &mut bytes);
        Some(Self { header: *header, bytes })
    }
}
