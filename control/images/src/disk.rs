//! Disks of installed systems: `disks/<hex>.raw`, by their digest like blobs, but larger by far and mostly empty.
//!
//! Because they are large they are not checked whenever they are used, only by [`Store::verify`]. Nobody writes to
//! them: what a guest writes goes into a layer.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::{Digest, Error, Result, Store};

/// The unit in which a disk counts as empty, in bytes.
const CHUNK: u64 = 64 << 10;

/// A reference to a disk in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The digest of its size and of all chunks of 64 KiB that are not zero, each behind its offset (64 bits, little
    /// endian). How much of the rest the host's file system keeps as holes has no say.
    pub digest: Digest,
    /// How large it is, in bytes.
    pub size: u64,
}

/// Reads the disk in the file `path`.
pub(crate) fn measure(path: &Path) -> Result<Disk> {
    let io = |e| Error::io("read", path, e);
    let file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let (digest, _) = Digest::of_reader(Content::new(file, size)).map_err(io)?;
    Ok(Disk { digest, size })
}

/// What of a disk goes into its digest.
struct Content {
    file: File,
    size: u64,
    at: u64,
    ready: io::Cursor<Vec<u8>>,
}

impl Content {
    fn new(file: File, size: u64) -> Self {
        Self { file, size, at: 0, ready: io::Cursor::new(size.to_le_bytes().to_vec()) }
    }

    /// The next chunk that is not zero, behind its offset; empty at the end.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        while self.at < self.size {
            match lseek(&self.file, self.at.cast_signed(), Whence::SeekData) {
                Ok(data) => self.at = self.at.max(data.cast_unsigned() / CHUNK * CHUNK),
                // Holes to the end.
                Err(Errno::ENXIO) => break,
                Err(e) => return Err(e.into()),
            }
            let mut chunk = vec![0; CHUNK.min(self.size - self.at) as usize];
            self.file.seek(SeekFrom::Start(self.at))?;
            self.file.read_exact(&mut chunk)?;
            let offset = self.at;
            self.at += CHUNK;
            if chunk.iter().any(|byte| *byte != 0) {
                return Ok([&offset.to_le_bytes()[..], &chunk].concat());
            }
        }
        Ok(vec![])
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.ready.read(buffer)? {
            0 if !buffer.is_empty() => {
                self.ready = io::Cursor::new(self.next()?);
                self.ready.read(buffer)
            }
            count => Ok(count),
        }
    }
}

impl Store {
    /// Where a disk lies, or would.
    pub(crate) fn disk_path(&self, digest: &Digest) -> PathBuf {
        self.disks().join(format!("{}.raw", digest.hex()))
    }

    fn disks(&self) -> PathBuf {
        self.root().join("disks")
    }

    /// Takes over a file, which is `disk`.
    pub(crate) fn adopt_disk(&self, file: NamedTempFile, disk: &Disk) -> Result<()> {
        let path = self.disk_path(&disk.digest);
        let fail = |e| Error::io("write", &path, e);
        file.as_file().sync_all().map_err(fail)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o444)).map_err(fail)?;
        file.persist(&path).map_err(|e| fail(e.error))?;
        Ok(())
    }

    /// Reads all of a disk of `image`.
    pub(crate) fn verify_disk(&self, disk: &Disk, image: &str) -> Result<()> {
        let path = self.disk_path(&disk.digest);
        let damaged = |what: &str| Error::Damaged {
            image: image.to_owned(),
            path: path.clone(),
            what: what.to_owned(),
        };
        if !path.exists() {
            return Err(damaged("is missing"));
        }
        match measure(&path)? == *disk {
            true => Ok(()),
            false => Err(damaged("does not match its digest")),
        }
    }

    /// Removes every disk that is not in `keep`; returns the bytes freed.
    pub(crate) fn retain_disks(&self, keep: &BTreeSet<Digest>) -> Result<u64> {
        let mut freed = 0;
        let dir = self.disks();
        for entry in fs::read_dir(&dir).map_err(|e| Error::io("list", &dir, e))? {
            let entry = entry.map_err(|e| Error::io("list", &dir, e))?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| Digest::from_hex(name.strip_suffix(".raw")?));
            if digest.is_some_and(|digest| !keep.contains(&digest)) {
                freed += entry.metadata().map_or(0, |m| allocated(&m));
                fs::remove_file(entry.path()).map_err(|e| Error::io("remove", &entry.path(), e))?;
            }
        }
        Ok(freed)
    }

    /// The file of a disk: a raw image, which is only to be read.
    pub fn disk_file(&self, disk: &Disk) -> PathBuf {
        self.disk_path(&disk.digest)
    }

    /// The bytes that a disk takes on the host, if it is here.
    pub fn disk_takes(&self, disk: &Disk) -> Option<u64> {
        fs::metadata(self.disk_path(&disk.digest)).ok().map(|metadata| allocated(&metadata))
    }
}

/// What a file takes, in bytes: st_blocks counts units of 512, whatever the file system's own are (stat(2)).
pub(crate) fn allocated(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn holes_and_zeros_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (sparse, full) = (dir.path().join("sparse"), dir.path().join("full"));
        let mut file = File::create(&sparse).unwrap();
        file.set_len(300_000).unwrap();
        file.seek(SeekFrom::Start(200_000)).unwrap();
        file.write_all(b"data").unwrap();
        let bytes = fs::read(&sparse).unwrap();
        fs::write(&full, &bytes).unwrap();
        let disk = measure(&sparse).unwrap();
        assert_eq!((disk, disk.size), (measure(&full).unwrap(), 300_000));
        for change in [0, 199_999, 200_003, 299_999] {
            let mut bytes = bytes.clone();
            bytes[change] ^= 1;
            fs::write(&full, &bytes).unwrap();
            assert_ne!(disk, measure(&full).unwrap(), "{change}");
        }
        fs::write(&full, &bytes[..299_999]).unwrap();
        assert_ne!(disk.digest, measure(&full).unwrap().digest);
    }

    #[test]
    fn a_disk_in_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut file = NamedTempFile::new_in(dir.path()).unwrap();
        file.write_all(b"a system").unwrap();
        let disk = measure(file.path()).unwrap();
        store.adopt_disk(file, &disk).unwrap();
        store.verify_disk(&disk, "x").unwrap();
        assert!(store.disk_takes(&disk).is_some());
        let path = store.disk_path(&disk.digest);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, b"another").unwrap();
        assert!(store.verify_disk(&disk, "x").unwrap_err().to_string().contains("does not match"));
        store.retain_disks(&BTreeSet::from([disk.digest])).unwrap();
        assert!(path.exists());
        store.retain_disks(&BTreeSet::new()).unwrap();
        assert!(!path.exists());
        assert!(store.verify_disk(&disk, "x").unwrap_err().to_string().contains("is missing"));
    }
}
