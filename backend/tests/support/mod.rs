//! What the tests share: a disk driven as a front would, and qemu-img to judge what it left.

#![allow(dead_code)] // each test uses a part of it

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use backend::block::{Backing, Create, Disk, Format, Options, Source, create};
use base::{Buffer, GuestMemory, GuestPhys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use virtio::back::{Block, Completion, Failure, Op, Request};

/// A disk and guest memory for its data.
pub struct Rig {
    pub disk: Disk,
    memory: Arc<GuestMemory>,
    tag: u64,
}

/// The two engines.
pub const ENGINES: [bool; 2] = [false, true];

/// Options with one of them.
pub fn threads(threads: bool) -> Options {
    Options { threads, ..Options::default() }
}

impl Rig {
    pub fn open(source: &Source, options: &Options) -> Self {
        Self::over(Disk::open(source, options).unwrap())
    }

    pub fn over(disk: Disk) -> Self {
        Self { disk, memory: Arc::new(GuestMemory::new(64 << 20).unwrap()), tag: 0 }
    }

    /// A buffer of scattered pieces: `len` bytes from `at`, in pieces of odd sizes with gaps between them.
    pub fn buffer(&self, at: u64, len: u64) -> Buffer {
        let mut buffer = Buffer::new(&self.memory);
        let (mut at, mut left, mut piece) = (at, len, 1);
        while left > 0 {
            let take = left.min(piece);
            buffer.push(GuestPhys(at), take).unwrap();
            (at, left, piece) = (at + take + 3, left - take, piece * 3 + 1);
        }
        buffer
    }

    /// Submits a request and gives its tag.
    pub fn submit(&mut self, op: Op, sector: u64, sectors: u64, data: Buffer) -> u64 {
        self.tag += 1;
        self.disk.submit(Request { tag: self.tag, op, sector, sectors, data }).unwrap();
        self.tag
    }

    /// Waits for some completions.
    pub fn completions(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        loop {
            let mut wake = [PollFd::new(self.disk.wake(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut wake, PollTimeout::from(60_000u16)).unwrap(), 1, "the disk hangs");
            self.disk.complete(&mut done);
            if !done.is_empty() {
                return done;
            }
        }
    }

    /// One request, to its end.
    pub fn request(&mut self, op: Op, sector: u64, sectors: u64, data: Buffer) -> Result<(), Failure> {
        let tag = self.submit(op, sector, sectors, data);
        self.disk.start();
        let done = self.completions();
        assert_eq!((done.len(), done[0].tag), (1, tag));
        done[0].result
    }

    pub fn write(&mut self, sector: u64, bytes: &[u8]) {
        let buffer = self.buffer(0x1001, bytes.len() as u64);
        buffer.write(0, bytes);
        self.request(Op::Write, sector, bytes.len() as u64 / 512, buffer).unwrap();
    }

    pub fn read(&mut self, sector: u64, sectors: u64) -> Vec<u8> {
        let buffer = self.buffer(0x1001, sectors * 512);
        self.request(Op::Read, sector, sectors, buffer.clone()).unwrap();
        let mut bytes = vec![0xee; sectors as usize * 512];
        buffer.read(0, &mut bytes);
        bytes
    }

    pub fn flush(&mut self) {
        let buffer = Buffer::new(&self.memory);
        self.request(Op::Flush, 0, 0, buffer).unwrap();
    }

    pub fn zero(&mut self, sector: u64, sectors: u64, unmap: bool) {
        let buffer = Buffer::new(&self.memory);
        self.request(Op::WriteZeroes { unmap }, sector, sectors, buffer).unwrap();
    }

    pub fn discard(&mut self, sector: u64, sectors: u64) {
        let buffer = Buffer::new(&self.memory);
        self.request(Op::Discard, sector, sectors, buffer).unwrap();
    }

    /// Nothing is readable on the wake once all completions are taken.
    pub fn is_silent(&self) -> bool {
        let mut wake = [PollFd::new(self.disk.wake(), PollFlags::POLLIN)];
        poll(&mut wake, PollTimeout::ZERO).unwrap() == 0
    }
}

/// Makes an image.
pub fn make(path: &Path, format: Format, size: u64, backing: Option<(&str, Format)>) -> Source {
    let backing = backing.map(|(name, format)| Backing { path: PathBuf::from(name), format });
    create(&Create { path: path.to_owned(), format, size: Some(size), backing }).unwrap();
    Source::new(path, format)
}

/// Runs qemu-img; it must be there (scripts/setup.sh).
pub fn qemu_img(arguments: &[&str]) -> Output {
    Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed: scripts/setup.sh")
}

/// Runs qemu-img and wants success.
pub fn qemu_img_ok(arguments: &[&str]) -> String {
    let output = qemu_img(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "qemu-img {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// No error, no leak.
pub fn check(path: &Path) {
    qemu_img_ok(&["check", "-f", "qcow2", path.to_str().unwrap()]);
}

/// The image holds these bytes, as qemu-img reads it.
pub fn same(path: &Path, format: Format, bytes: &[u8]) {
    let mut raw = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut raw, bytes).unwrap();
    let raw = raw.path().to_str().unwrap();
    qemu_img_ok(&["compare", "-f", format.name(), "-F", "raw", path.to_str().unwrap(), raw]);
}
