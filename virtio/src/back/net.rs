//! Behind a network interface.

use std::os::fd::BorrowedFd;

use base::Buffer;
use bitflags::bitflags;

bitflags! {
    /// What a side can take off the other's hands. Of a back-end: what it takes from the guest, or could give to it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Offloads: u32 {
        /// Frames whose checksum is still to be computed.
        const CHECKSUM = 1 << 0;
        /// TCP over IPv4, in pieces larger than the MTU.
        const TSO4 = 1 << 1;
        /// TCP over IPv6, likewise.
        const TSO6 = 1 << 2;
        /// With ECN.
        const ECN = 1 << 3;
        /// UDP over IPv4, likewise.
        const USO4 = 1 << 4;
        /// UDP over IPv6, likewise.
        const USO6 = 1 << 5;
    }
}

/// What is still to be done to a frame, or was: the fields of `struct virtio_net_hdr` (virtio 1.2, 5.1.6), as
/// read from the guest exactly once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `VIRTIO_NET_HDR_F_*`: 1 a checksum is needed, 2 the data are valid.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`: 0 none, 1 TCPv4, 4 TCPv6, 5 UDP L4; bit 7 ECN.
    pub gso_type: u8,
    /// Bytes of headers, as a hint.
    pub hdr_len: u16,
    /// Bytes of payload in each segment.
    pub gso_size: u16,
    /// Where the checksum begins.
    pub csum_start: u16,
    /// Where it goes, from there.
    pub csum_offset: u16,
}

/// What an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetFacts {
    /// Its address.
    pub mac: [u8; 6],
    /// The largest IP packet that goes without segmentation.
    pub mtu: u16,
    /// What the back-end takes from the guest.
    pub from_guest: Offloads,
    /// What the back-end could leave to the guest.
    pub to_guest: Offloads,
}

/// What became of a frame that the guest sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way, or was dropped as networks do.
    Taken,
    /// There is no room: offer it again at the next wake.
    Full,
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing is there. The wake is silent.
    Nothing,
    /// A frame of so many bytes is in the buffer.
    Frame(Header, u64),
}

/// An interface's other end. Frames are Ethernet's, without the checksum at their end.
pub trait Net: Send {
    /// What the interface is.
    fn facts(&self) -> NetFacts;
    /// What guest and front have agreed on: the back-end leaves no more than this to the guest.
    fn accept(&mut self, to_guest: Offloads);
    /// Sends a frame.
    fn send(&mut self, header: &Header, frame: &Buffer) -> Sent;
    /// No more frames come for now. At the end of each batch.
    fn flush(&mut self) {}
    /// Receives a frame. One that is longer than the buffer is dropped, and the next one tried.
    fn receive(&mut self, into: &Buffer) -> Received;
    /// Is the cable in?
    fn link(&self) -> bool;
    /// Readable while there is something to receive, room after [`Sent::Full`], or a change of
    /// [`Net::link`]. Always the same descriptor.
    fn wake(&self) -> BorrowedFd<'_>;
}
