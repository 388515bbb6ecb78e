//! Bytes by their digest: `blobs/sha256/<hex>`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Result};

/// The largest blob: far above any kernel, far below what hurts.
const MAX_BLOB: u64 = 1 << 30;

/// A reference to bytes in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// What the bytes hash to.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// A directory of blobs. A blob appears whole or not at all, and its name
/// tells whether it is still what it was.
#[derive(Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    temp: PathBuf,
}

impl Blobs {
    /// The blobs under `root`; `temp` is a directory on the same file system.
    pub(crate) fn new(root: &Path, temp: PathBuf) -> Self {
        Self { dir: root.join("blobs/sha256"), temp }
    }

    /// Where the blob lies, or would.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Stores `bytes`; a damaged blob of that name is replaced.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Blob> {
        let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64 };
        if !self.holds(&blob) {
            write_whole(&self.temp, &self.path(&blob.digest), bytes)?;
        }
        Ok(blob)
    }

    /// Takes over `file`, if it is `blob`; whatever it is, it is gone after.
    /// Returns whether it was.
    pub(crate) fn adopt(&self, file: &Path, blob: &Blob) -> Result<bool> {
        let read = |e| Error::io("read", file, e);
        // For local sources apt leaves a link to the mirror's own file: not ours to move.
        let linked = fs::symlink_metadata(file).map_err(read)?.is_symlink();
        let source = File::open(file).map_err(read)?;
        let (digest, _) = Digest::of_reader(source.take(blob.size.saturating_add(1))).map_err(read)?;
        let good = digest == blob.digest;
        if good && !linked {
            let path = self.path(&blob.digest);
            fs::rename(file, &path).map_err(|e| Error::io("write", &path, e))?;
            return Ok(true);
        }
        if good {
            let bytes = read_bounded(file, blob.size).map_err(read)?;
            write_whole(&self.temp, &self.path(&blob.digest), &bytes)?;
        }
        fs::remove_file(file).map_err(|e| Error::io("remove", file, e))?;
        Ok(good)
    }

    /// Whether the blob is here and undamaged.
    pub(crate) fn holds(&self, blob: &Blob) -> bool {
        self.read(blob, "").is_ok()
    }

    /// The blob's bytes, checked. `image` is named in the error.
    pub(crate) fn read(&self, blob: &Blob, image: &str) -> Result<Vec<u8>> {
        let path = self.path(&blob.digest);
        let damaged = |what: &str| {
            let (image, path, what) = (image.to_owned(), path.clone(), what.to_owned());
            Error::Damaged { image, path, what }
        };
        let bytes = match read_bounded(&path, blob.size) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged("is missing")),
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        if bytes.len() as u64 != blob.size {
            return Err(damaged("has the wrong size"));
        }
        if Digest::of(&bytes) != blob.digest {
            return Err(damaged("does not match its digest"));
        }
        Ok(bytes)
    }

    /// Removes every blob that is not in `keep`; returns the bytes freed.
    pub(crate) fn retain(&self, keep: &BTreeSet<Digest>) -> Result<u64> {
        let mut freed = 0;
        let entries = fs::read_dir(&self.dir).map_err(|e| Error::io("list", &self.dir, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", &self.dir, e))?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(Digest::from_hex);
            if digest.is_some_and(|d| !keep.contains(&d)) {
                freed += entry.metadata().map_or(0, |m| m.len());
                fs::remove_file(entry.path()).map_err(|e| Error::io("remove", &entry.path(), e))?;
            }
        }
        Ok(freed)
    }
}

/// Reads `path`, at most one byte more than `expected`: enough to tell that a
/// file is too long, and no more memory than that.
fn read_bounded(path: &Path, expected: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(expected.min(MAX_BLOB) + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes `path` hold `bytes`: whoever looks sees the old file or the new one.
pub(crate) fn write_whole(temp: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e| Error::io("write", path, e);
    let mut file = tempfile::Builder::new()
        // The permissions of any file: the store is shared as its directory is.
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(temp)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        let blobs = Blobs::new(dir.path(), dir.path().join("tmp"));
        (dir, blobs)
    }

    #[test]
    fn what_is_put_is_read() {
        let (_dir, blobs) = blobs();
        let blob = blobs.put(b"kernel").unwrap();
        assert_eq!(blobs.read(&blob, "x").unwrap(), b"kernel");
        assert_eq!(blob.size, 6);
    }

    #[test]
    fn damage_is_told_and_mended() {
        let (_dir, blobs) = blobs();
        let blob = blobs.put(b"kernel").unwrap();
        for damage in [&b"kernfl"[..], b"kern", b"kernel and more"] {
            fs::write(blobs.path(&blob.digest), damage).unwrap();
            let message = blobs.read(&blob, "debian").unwrap_err().to_string();
            assert!(message.contains("run `ringfence image pull debian` again"), "{message}");
            blobs.put(b"kernel").unwrap();
            assert!(blobs.holds(&blob));
        }
        fs::remove_file(blobs.path(&blob.digest)).unwrap();
        assert!(matches!(blobs.read(&blob, "x"), Err(Error::Damaged { .. })));
    }

    #[test]
    fn adopts_only_what_was_promised() {
        let (dir, blobs) = blobs();
        let file = dir.path().join("download");
        let blob = Blob { digest: Digest::of(b"deb"), size: 3 };
        for (bytes, good) in [(&b"bed"[..], false), (b"debdeb", false), (b"", false), (b"deb", true)] {
            fs::write(&file, bytes).unwrap();
            assert_eq!(blobs.adopt(&file, &blob).unwrap(), good);
            assert_eq!(blobs.holds(&blob), good);
            assert!(!file.exists());
        }
    }

    #[test]
    fn copies_what_is_only_linked() {
        let (dir, blobs) = blobs();
        let (mirror, link) = (dir.path().join("mirror.deb"), dir.path().join("download"));
        fs::write(&mirror, "deb").unwrap();
        std::os::unix::fs::symlink(&mirror, &link).unwrap();
        let blob = Blob { digest: Digest::of(b"deb"), size: 3 };
        assert!(blobs.adopt(&link, &blob).unwrap());
        assert!(blobs.holds(&blob) && mirror.exists() && !link.exists());
    }

    #[test]
    fn retain_frees_the_rest_and_leaves_strangers() {
        let (_dir, blobs) = blobs();
        let kept = blobs.put(b"kept").unwrap();
        let gone = blobs.put(b"unreferenced").unwrap();
        fs::write(blobs.dir.join("README"), "not a blob").unwrap();
        assert_eq!(blobs.retain(&BTreeSet::from([kept.digest])).unwrap(), 12);
        assert!(blobs.holds(&kept) && !blobs.holds(&gone));
        assert!(blobs.dir.join("README").exists());
    }
}
