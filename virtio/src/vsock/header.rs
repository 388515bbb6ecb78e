//! A packet's header (5.10.6, `struct virtio_vsock_hdr`), read and written as a whole.
//!
//! The `virtio-vsock` crate of rust-vmm parses it too, but out of descriptors that it reads itself, and only where the
//! driver cuts a packet into one or two of them. Here a chain is a checked buffer already, cut in any way.

use base::Buffer;

/// Bytes.
pub(super) const LEN: usize = 44;
/// `VIRTIO_VSOCK_TYPE_STREAM`.
pub(super) const STREAM: u16 = 1;
/// `VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE`: whoever says so receives no more.
pub(super) const NO_RECEIVE: u32 = 1;
/// `VIRTIO_VSOCK_SHUTDOWN_F_SEND`: sends no more.
pub(super) const NO_SEND: u32 = 2;

/// What a packet is: `VIRTIO_VSOCK_OP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Op {
    Request = 1,
    Response = 2,
    Rst = 3,
    Shutdown = 4,
    Rw = 5,
    CreditUpdate = 6,
    CreditRequest = 7,
}

impl Op {
    pub fn of(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Rst,
            4 => Self::Shutdown,
            5 => Self::Rw,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            _ => return None,
        })
    }
}

/// The header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub src_cid: u64,
    pub dst_cid: u64,
    pub src_port: u32,
    pub dst_port: u32,
    /// Bytes of payload.
    pub len: u32,
    pub kind: u16,
    pub op: u16,
    pub flags: u32,
    /// Bytes that the sender buffers for the connection.
    pub buf_alloc: u32,
    /// Bytes that have left that buffer since the connection began.
    pub fwd_cnt: u32,
}

impl Header {
    /// The header at the start of a buffer, if there is a whole one.
    pub fn read(buffer: &Buffer) -> Option<Self> {
        let mut bytes = [0; LEN];
        if buffer.read(0, &mut bytes) < LEN {
            return None;
        }
        let dword = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let qword = |at: usize| u64::from(dword(at)) | u64::from(dword(at + 4)) << 32;
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Some(Self {
            src_cid: qword(0),
            dst_cid: qword(8),
            src_port: dword(16),
            dst_port: dword(20),
            len: dword(24),
            kind: word(28),
            op: word(30),
            flags: dword(32),
            buf_alloc: dword(36),
            fwd_cnt: dword(40),
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let Self { src_cid, dst_cid, src_port, dst_port, len, kind, op, flags, buf_alloc, fwd_cnt } = self;
        let mut bytes = [src_cid.to_le_bytes(), dst_cid.to_le_bytes()].concat();
        bytes.extend([src_port, dst_port, len].into_iter().flat_map(|dword| dword.to_le_bytes()));
        bytes.extend([kind, op].into_iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([flags, buf_alloc, fwd_cnt].into_iter().flat_map(|dword| dword.to_le_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{GuestMemory, GuestPhys};

    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_however_it_is_cut() {
        let header = Header {
            src_cid: 0x0102_0304_0506_0708,
            dst_cid: 2,
            src_port: 0x1122_3344,
            dst_port: 5,
            len: 6,
            kind: STREAM,
            op: Op::Rw as u16,
            flags: 7,
            buf_alloc: 8,
            fwd_cnt: u32::MAX,
        };
        let bytes = header.bytes();
        assert_eq!((bytes.len(), bytes[7], bytes[28], bytes[30]), (LEN, 1, 1, 5));
        let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
        let mut buffer = Buffer::new(&memory);
        for (at, part) in [(0x1000, 3), (0x3000, 30), (0x2000, LEN as u64 - 33)] {
            assert_eq!(Header::read(&buffer), None);
            buffer.push(GuestPhys(at), part).unwrap();
        }
        buffer.write(0, &bytes);
        assert_eq!(Header::read(&buffer), Some(header));
    }
}
