//! Buffers in guest RAM that a device works on: checked once, when they are made, and owned from then on.
//!
//! A guest describes a buffer by addresses in memory that it can change at any time. Whoever reads such a
//! description turns it into a [`Buffer`] at once: every piece is proved to be RAM, and what the guest does to
//! its description afterwards changes nothing. The *contents* stay the guest's, who may change them meanwhile.
//!
//! The host's kernel can read and write the pieces in place ([`Buffer::fill_from`], [`Buffer::drain_to`],
//! [`Buffer::iovecs`]). Every way to write tells the [`Watch`](crate::Watch), but the last: see
//! [`Buffer::wrote`].

#![allow(unsafe_code)] // hands guest RAM to the kernel; every piece is in bounds by construction

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use crate::address::{GuestPhys, RamOffset};
use crate::memory::{GuestMemory, OutOfRam};

/// The kernel takes no more in one call (`UIO_MAXIOV`).
const MOST_IOVECS: usize = 1024;

/// One piece of a buffer: wholly RAM, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub at: RamOffset,
    /// Bytes.
    pub len: u64,
}

/// Pieces of guest RAM, one after the other.
#[derive(Clone)]
pub struct Buffer {
    memory: Arc<GuestMemory>,
    pieces: Vec<Piece>,
    len: u64,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.pieces).finish()
    }
}

impl Buffer {
    /// An empty one.
    pub fn new(memory: &Arc<GuestMemory>) -> Self {
        Self { memory: Arc::clone(memory), pieces: Vec::new(), len: 0 }
    }

    /// Adds a piece that the guest claims is RAM. Nothing is added if it is empty.
    ///
    /// # Errors
    /// [`OutOfRam`] if it is not wholly RAM; also if the buffer would be longer than 2⁶³ bytes.
    pub fn push(&mut self, at: GuestPhys, len: u64) -> Result<(), OutOfRam> {
        if len == 0 {
            return Ok(());
        }
        let start = self.memory.range(at, len)?;
        let total = self.len.checked_add(len).filter(|&total| total <= i64::MAX as u64);
        self.len = total.ok_or(OutOfRam { at, len })?;
        match self.pieces.last_mut() {
            // Neighbours are one piece: fewer vectors for the kernel.
            Some(last) if last.at.0 + last.len == start.0 => last.len += len,
            _ => self.pieces.push(Piece { at: start, len }),
        }
        Ok(())
    }

    /// Adds the pieces of another buffer of the same memory.
    pub fn append(&mut self, other: Self) {
        self.len = self.len.saturating_add(other.len);
        self.pieces.extend(other.pieces);
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No bytes at all?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its pieces.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The memory it is in.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// The part from `offset`, at most `len` bytes of it.
    #[must_use]
    pub fn slice(&self, offset: u64, len: u64) -> Self {
        let pieces = self.parts(offset, len).collect::<Vec<_>>();
        let len = pieces.iter().map(|piece| piece.len).sum();
        Self { memory: Arc::clone(&self.memory), pieces, len }
    }

    /// Takes the first `len` bytes off (all, if there are no more) and gives them.
    pub fn split_front(&mut self, len: u64) -> Self {
        let front = self.slice(0, len);
        *self = self.slice(front.len, u64::MAX);
        front
    }

    /// The pieces of the part from `offset`, at most `len` bytes of it.
    fn parts(&self, offset: u64, len: u64) -> impl Iterator<Item = Piece> {
        let (mut skip, mut left) = (offset, len);
        self.pieces.iter().filter_map(move |piece| {
            let skipped = skip.min(piece.len);
            skip -= skipped;
            let taken = (piece.len - skipped).min(left);
            left -= taken;
            (taken > 0).then_some(Piece { at: piece.at.plus(skipped), len: taken })
        })
    }

    /// Copies bytes out, from `offset`. Gives how many there were.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in self.parts(offset, into.len() as u64) {
            let end = done + piece.len as usize;
            self.memory.read_at(piece.at, &mut into[done..end]);
            done = end;
        }
        done
    }

    /// Copies bytes in, from `offset`. Gives how many there was room for.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> usize {
        let mut done = 0;
        for piece in self.parts(offset, bytes.len() as u64) {
            let end = done + piece.len as usize;
            self.memory.write_at(piece.at, &bytes[done..end]);
            self.memory.watch().wrote_apart(piece.at, piece.len);
            done = end;
        }
        done
    }

    /// Sets `len` bytes from `offset` to zero, as far as there are any.
    pub fn clear(&self, offset: u64, len: u64) {
        for piece in self.parts(offset, len) {
            self.memory.fill(piece.at, 0u8, piece.len);
            self.memory.watch().wrote_apart(piece.at, piece.len);
        }
    }

    /// All pieces as the host's kernel wants them. They are valid as long as the memory is; keep the buffer until the
    /// kernel is done. After the kernel has written to them, call [`Buffer::wrote`].
    pub fn iovecs(&self) -> Vec<libc::iovec> {
        let iovec = |piece: &Piece| libc::iovec {
            iov_base: self.memory.host(piece.at, piece.len).cast(),
            iov_len: piece.len as usize,
        };
        self.pieces.iter().map(iovec).collect()
    }

    /// The kernel has written the first `len` bytes.
    pub fn wrote(&self, len: u64) {
        for piece in self.parts(0, len) {
            self.memory.watch().wrote_apart(piece.at, piece.len);
        }
    }

    /// Reads from a file at `position`, or, without one, from where a pipe, a socket or a device stands: one
    /// `preadv(2)` or `readv(2)`. Gives the bytes read.
    ///
    /// # Errors
    /// The host's.
    pub fn fill_from(&self, file: impl AsFd, position: Option<u64>) -> io::Result<u64> {
        let done = self.transfer(position, |iovecs, count, position| {
            let fd = file.as_fd().as_raw_fd();
            // SAFETY: the vectors point to `count` pieces of guest RAM, which outlives the call.
            unsafe {
                match position {
                    Some(position) => libc::preadv64(fd, iovecs, count, position),
                    None => libc::readv(fd, iovecs, count),
                }
            }
        })?;
        self.wrote(done);
        Ok(done)
    }

    /// Writes to a file at `position`, or, without one, to a pipe, a socket or a device: one `pwritev(2)` or
    /// `writev(2)`. Gives the bytes written.
    ///
    /// # Errors
    /// The host's.
    pub fn drain_to(&self, file: impl AsFd, position: Option<u64>) -> io::Result<u64> {
        self.transfer(position, |iovecs, count, position| {
            let fd = file.as_fd().as_raw_fd();
            // SAFETY: as in `fill_from`; the kernel only reads.
            unsafe {
                match position {
                    Some(position) => libc::pwritev64(fd, iovecs, count, position),
                    None => libc::writev(fd, iovecs, count),
                }
            }
        })
    }

    fn transfer(
        &self,
        position: Option<u64>,
        call: impl Fn(*const libc::iovec, i32, Option<i64>) -> isize,
    ) -> io::Result<u64> {
        let position = position.map(i64::try_from).transpose();
        let position = position.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let iovecs = self.iovecs();
        let done = call(iovecs.as_ptr(), iovecs.len().min(MOST_IOVECS) as i32, position);
        u64::try_from(done).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HOLE_START, PAGE_SIZE};
    use std::io::{Read, Seek, Write};

    fn memory() -> Arc<GuestMemory> {
        Arc::new(GuestMemory::new(1 << 20).unwrap())
    }

    #[test]
    fn only_ram_gets_in() {
        let mut buffer = Buffer::new(&memory());
        assert!(buffer.push(GuestPhys(0xf_fff0), 0x10).is_ok());
        for (at, len) in [(0xf_fff0, 0x11), (HOLE_START, 1), (u64::MAX, 2), (0, u64::MAX)] {
            assert_eq!(buffer.push(GuestPhys(at), len), Err(OutOfRam { at: GuestPhys(at), len }));
        }
        assert!(buffer.push(GuestPhys(u64::MAX), 0).is_ok(), "nothing is nowhere");
        assert_eq!((buffer.len(), buffer.pieces().len()), (0x10, 1));
    }

    #[test]
    fn pieces_are_read_and_written_as_one() {
        let memory = memory();
        let mut buffer = Buffer::new(&memory);
        for at in [0x3000, 0x1000, 0x1004] {
            buffer.push(GuestPhys(at), 4).unwrap();
        }
        assert_eq!(buffer.pieces().len(), 2, "neighbours are joined");
        assert_eq!(buffer.write(2, b"abcdefghijkl"), 10);
        let mut bytes = [0; 16];
        assert_eq!(buffer.read(0, &mut bytes), 12);
        assert_eq!(&bytes[..12], b"\0\0abcdefghij");
        let front = buffer.split_front(5);
        assert_eq!((front.len(), buffer.len(), buffer.read(0, &mut bytes)), (5, 7, 7));
        assert_eq!(&bytes[..7], b"defghij");
        assert_eq!(buffer.slice(6, 9).len(), 1);
        buffer.clear(1, 2);
        buffer.read(0, &mut bytes);
        assert_eq!(&bytes[..4], b"d\0\0g");
    }

    #[test]
    fn files_are_read_and_written_in_place_and_the_watch_hears_of_it() {
        let memory = memory();
        let mut file = tempfile();
        file.write_all(b"0123456789").unwrap();
        let mut buffer = Buffer::new(&memory);
        buffer.push(GuestPhys(0x5ffe), 4).unwrap();
        buffer.push(GuestPhys(0x9000), 2).unwrap();
        memory.watch().start_dirty_log();
        assert_eq!(buffer.fill_from(&file, Some(3)).unwrap(), 6);
        assert_eq!(memory.watch().take_dirty(), [5, 6, 9]);
        assert_eq!(buffer.fill_from(&file, Some(8)).unwrap(), 2, "the end of the file");
        assert_eq!(memory.watch().take_dirty(), [5]);
        assert_eq!(buffer.drain_to(&file, Some(0)).unwrap(), 6);
        assert!(memory.watch().take_dirty().is_empty());
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "8956786789");
        assert!(buffer.fill_from(&file, Some(u64::MAX)).is_err());
    }

    fn tempfile() -> std::fs::File {
        // Tests run at once, each on a thread of its own.
        let name = format!("ringfence-buffer-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path);
        std::fs::remove_file(&path).unwrap();
        file.unwrap()
    }

    #[test]
    fn a_page_of_pieces_goes_in_several_calls() {
        let memory = memory();
        let mut buffer = Buffer::new(&memory);
        for n in 0..2000 {
            buffer.push(GuestPhys(n % 2 * PAGE_SIZE + n), 1).unwrap();
        }
        let file = tempfile();
        assert_eq!(buffer.drain_to(&file, Some(0)).unwrap(), MOST_IOVECS as u64);
        assert_eq!(buffer.slice(1024, u64::MAX).drain_to(&file, Some(1024)).unwrap(), 2000 - 1024);
    }
}
