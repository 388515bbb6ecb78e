//! An interface whose frames are written down: a capture file as `tcpdump` and Wireshark read it (pcap 2.4,
//! draft-ietf-opsawg-pcap), before any back-end.
//!
//! Frames are as they pass between guest and back-end: a large segment is one frame, and a checksum that is left to
//! others is not there. As with captures on any host with such offloads, tools may call them wrong.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base::Buffer;
use virtio::back::{Header, Net, NetFacts, Offloads, Received, Sent};

use super::Frame;

/// Times are in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const ETHERNET: u32 = 1;

/// The capture.
pub struct Captured {
    inner: Box<dyn Net>,
    file: BufWriter<File>,
    left: u64,
    scratch: Vec<u8>,
}

impl Captured {
    /// Bytes in a file, at most: what a guest sends shall not fill the disk.
    pub const MOST: u64 = 1 << 30;

    /// Writes an interface's frames into a new file, which only its owner may read.
    ///
    /// # Errors
    /// The host's; also where the file exists, since nobody wants one to be lost.
    pub fn new(inner: Box<dyn Net>, path: &Path) -> io::Result<Self> {
        Self::up_to(Self::MOST, inner, path)
    }

    fn up_to(most: u64, inner: Box<dyn Net>, path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut file = BufWriter::with_capacity(128 << 10, file);
        let mut header = vec![];
        header.extend(MAGIC.to_le_bytes());
        VERSION.iter().for_each(|part| header.extend(part.to_le_bytes()));
        header.extend([0; 8]); // of the time zone and the precision, which nobody sets
        header.extend((Frame::LONGEST as u32).to_le_bytes());
        header.extend(ETHERNET.to_le_bytes());
        file.write_all(&header)?;
        file.flush()?;
        Ok(Self { inner, file, left: most.saturating_sub(header.len() as u64), scratch: vec![] })
    }

    fn write(&mut self, frame: &Buffer, len: u64) {
        let len = len.min(Frame::LONGEST as u64) as usize;
        let whole = len as u64 + 16;
        if self.left < whole {
            if self.left > 0 {
                tracing::warn!("the capture is full: it ends here");
                self.flush_file();
                self.left = 0;
            }
            return;
        }
        self.scratch.resize(len, 0);
        frame.read(0, &mut self.scratch);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut header = [0; 16];
        let words = [time.as_secs() as u32, time.subsec_nanos(), len as u32, len as u32];
        for (into, word) in header.chunks_exact_mut(4).zip(words) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        let written = self.file.write_all(&header).and_then(|()| self.file.write_all(&self.scratch));
        match written {
            Ok(()) => self.left -= whole,
            Err(error) => {
                tracing::warn!(%error, "the capture cannot be written: it ends here");
                self.left = 0;
            }
        }
    }

    fn flush_file(&mut self) {
        if self.left > 0
            && !self.file.buffer().is_empty()
            && let Err(error) = self.file.flush()
        {
            tracing::warn!(%error, "the capture cannot be written: it ends here");
            self.left = 0;
        }
    }
}

impl Net for Captured {
    fn facts(&self) -> NetFacts {
        self.inner.facts()
    }

    fn accept(&mut self, to_guest: Offloads) {
        self.inner.accept(to_guest);
    }

    fn send(&mut self, header: &Header, frame: &Buffer) -> Sent {
        let sent = self.inner.send(header, frame);
        if sent == Sent::Taken {
            self.write(frame, frame.len());
        }
        sent
    }

    fn flush(&mut self) {
        self.inner.flush();
        self.flush_file();
    }

    fn receive(&mut self, into: &Buffer) -> Received {
        let received = self.inner.receive(into);
        match received {
            Received::Frame(_, len) => self.write(into, len),
            Received::Nothing => self.flush_file(),
        }
        received
    }

    fn link(&self) -> bool {
        self.inner.link()
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.inner.wake()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{Echo, buffer, holding};
    use std::os::unix::fs::PermissionsExt;

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    #[test]
    fn frames_are_written_as_they_pass_in_both_directions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.pcap");
        let mut captured = Captured::new(Box::new(Echo::new().0), &path).unwrap();
        let frame: Vec<u8> = (0..60).collect();
        assert_eq!(captured.send(&Header::default(), &holding(&frame)), Sent::Taken);
        assert_eq!(captured.receive(&buffer(2000)), Received::Frame(Header::default(), 60));
        assert_eq!(captured.receive(&buffer(2000)), Received::Nothing);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(words(&bytes[..24]), [0xa1b2_3c4d, 0x0004_0002, 0, 0, Frame::LONGEST as u32, 1]);
        assert_eq!(bytes.len(), 24 + 2 * (16 + 60));
        for record in bytes[24..].chunks(76) {
            assert_eq!(words(&record[8..16]), [60, 60]);
            assert_eq!(record[16..], frame);
        }
        assert!(Captured::new(Box::new(Echo::new().0), &path).is_err(), "no capture is overwritten");
    }

    #[test]
    fn a_capture_does_not_grow_beyond_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.pcap");
        let mut captured = Captured::up_to(5000, Box::new(Echo::new().0), &path).unwrap();
        for _ in 0..100 {
            assert_eq!(captured.send(&Header::default(), &buffer(984)), Sent::Taken);
        }
        captured.flush();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 24 + 4 * 1000);
    }
}
