//! Reads a disk from outside of any machine, as a file is read: for who looks for something on it.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::io::{Engine, Inline, block_on};
use super::{Image, Result, Source};

/// The disk of an image, to be read. While it is open nobody writes to the image.
#[derive(Debug)]
pub struct Look {
    image: Image,
    engine: Arc<dyn Engine>,
    at: u64,
}

impl Look {
    /// Opens an image; nothing is written to it.
    ///
    /// # Errors
    /// What is wrong with the image, or that a machine has it.
    pub fn at(source: &Source) -> Result<Self> {
        let engine: Arc<dyn Engine> = Arc::new(Inline);
        let image = Image::open(&source.clone().read_only(), &engine)?;
        Ok(Self { image, engine, at: 0 })
    }

    /// The disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.image.size()
    }
}

impl Read for Look {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.image.size().saturating_sub(self.at);
        let count = left.min(into.len() as u64) as usize;
        if count > 0 {
            let into = &mut into[..count];
            block_on(&*self.engine, self.image.read(into.into(), self.at))?;
            self.at += count as u64;
        }
        Ok(count)
    }
}

impl Seek for Look {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.image.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Backing, Disk, Format, Layer, Options};

    #[test]
    fn a_layer_is_read_like_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let (under, layer) = (directory.path().join("under.raw"), directory.path().join("layer.qcow2"));
        let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| (at >> 8) as u8).collect();
        std::fs::write(&under, &bytes).unwrap();
        let under = Backing { path: under, format: Format::Raw };
        let source = Source { backing: Some(under.clone()), ..Source::new(&layer, Format::Qcow2) };
        let disk: Disk = Layer::Keep(&layer).open(&under, &Options::default()).unwrap();
        assert!(Look::at(&source).is_err(), "a machine has it");
        drop(disk);
        let mut look = Look::at(&source).unwrap();
        assert_eq!(look.size(), 1 << 20);
        let mut all = vec![];
        look.read_to_end(&mut all).unwrap();
        assert!(all == bytes);
        let mut some = [0; 700];
        look.seek(SeekFrom::End(-1000)).unwrap();
        look.read_exact(&mut some).unwrap();
        assert!(some == bytes[(1 << 20) - 1000..][..700]);
        assert_eq!(look.stream_position().unwrap(), (1 << 20) - 300);
        assert!(look.seek(SeekFrom::Current(-(2 << 20))).is_err());
    }
}
