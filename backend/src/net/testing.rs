//! What tests of back-ends need.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use base::{Bell, Buffer, GuestMemory, GuestPhys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use virtio::back::{Header, Net, NetFacts, Offloads, Received, Sent};

use super::Frame;

/// A buffer of so many bytes in a memory of its own.
pub fn buffer(len: u64) -> Buffer {
    let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
    let mut buffer = Buffer::new(&memory);
    buffer.push(GuestPhys(0x1000), len).unwrap();
    buffer
}

/// A buffer that holds this.
pub fn holding(bytes: &[u8]) -> Buffer {
    let buffer = buffer(bytes.len() as u64);
    buffer.write(0, bytes);
    buffer
}

/// Milliseconds for what must happen: a busy host may keep threads waiting for seconds.
pub const LONG: u16 = 60_000;

/// Is it readable within so many milliseconds?
pub fn readable(fd: BorrowedFd, milliseconds: u16) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(milliseconds)).unwrap() == 1
}

/// A folder that only its owner can enter.
pub fn private_folder() -> tempfile::TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().unwrap()
}

/// Gives every frame back.
pub struct Echo {
    frames: Vec<Frame>,
    bell: Arc<Bell>,
}

impl Echo {
    /// One with its bell.
    pub fn new() -> (Self, Arc<Bell>) {
        let bell = Arc::new(Bell::new().unwrap());
        (Self { frames: vec![], bell: bell.clone() }, bell)
    }
}

impl Net for Echo {
    fn facts(&self) -> NetFacts {
        NetFacts { mac: [2; 6], mtu: 1500, from_guest: Offloads::all(), to_guest: Offloads::all() }
    }

    fn accept(&mut self, _: Offloads) {}

    fn send(&mut self, header: &Header, frame: &Buffer) -> Sent {
        self.frames.extend(Frame::copy(header, frame));
        self.bell.ring();
        Sent::Taken
    }

    fn receive(&mut self, into: &Buffer) -> Received {
        self.bell.answer();
        match self.frames.pop() {
            Some(frame) => Received::Frame(frame.header, into.write(0, &frame.bytes) as u64),
            None => Received::Nothing,
        }
    }

    fn link(&self) -> bool {
        true
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
