//! Where images lie.
//!
//! ```text
//! $XDG_CACHE_HOME/ringfence/         ~/.cache/ringfence unless set
//! ├── images/<name>.json             one manifest an image
//! ├── blobs/sha256/<hex>             kernels, RAM disks, packages
//! ├── disks/<hex>.raw                disks of installed systems
//! ├── kept/                          systems that are run and kept, see `kept`
//! ├── apt/<architecture>/            a private root for apt: lists, partial downloads
//! ├── tmp/                           files being written
//! └── pull.lock, store.lock          see `lock`
//! ```
//!
//! Files appear by renaming, so a crash leaves old or new, never half. Every
//! read is checked against the digest, so a damaged disk is told as such and
//! never boots. All of it is a cache: deleting the directory loses nothing that
//! a pull does not bring back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::blobs::{Blobs, write_whole};
use crate::lock::Lock;
use crate::manifest::{SCHEMA, check_name};
use crate::{Error, Image, Manifest, Result};

/// The largest manifest that is read.
const MAX_MANIFEST: u64 = 1 << 20;

/// A store of images in a directory. Any number of processes may share it.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pub(crate) blobs: Blobs,
    pub(crate) sources: Option<PathBuf>,
    pub(crate) fallback: bool,
    /// Is told of waits for other processes.
    waits: fn(&str),
}

impl Store {
    /// The directory of the user's own store.
    pub fn default_root() -> Result<PathBuf> {
        // Relative paths are to be ignored (XDG Base Directory Specification).
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("ringfence"))
            .ok_or(Error::NoCacheDir)
    }

    /// Opens the user's own store; creates it if need be.
    pub fn open_default() -> Result<Self> {
        Self::open(&Self::default_root()?)
    }

    /// Opens the store in the directory `root`; creates it if need be.
    pub fn open(root: &Path) -> Result<Self> {
        // apt and our own renames work in other directories: make it absolute.
        let root = std::path::absolute(root).map_err(|e| Error::io("find", root, e))?;
        for dir in ["blobs/sha256", "disks", "images", "kept", "tmp"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        }
        Ok(Self {
            blobs: Blobs::new(&root, root.join("tmp")),
            root,
            sources: None,
            fallback: true,
            waits: log,
        })
    }

    /// Fetches packages from the sources in the file `list` (sources.list(5)),
    /// a mirror of one's own say, instead of the host's.
    pub fn with_sources(self, list: &Path) -> Self {
        Self { sources: Some(list.to_owned()), ..self }
    }

    /// Tells `waits` whom it waits for, should it wait longer than a second for another process; otherwise that goes to the
    /// log.
    pub fn telling(self, waits: fn(&str)) -> Self {
        Self { waits, ..self }
    }

    /// Never turns to Debian 12 for a package that the sources do not offer.
    pub fn without_fallback(self) -> Self {
        Self { fallback: false, ..self }
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All images that are here, by name; a manifest that cannot be read is an
    /// error in its place.
    pub fn list(&self) -> Result<Vec<(String, Result<Manifest>)>> {
        let _lock = self.lock_shared()?;
        self.manifests()
    }

    /// Reads an image; each byte is checked.
    pub fn get(&self, name: &str) -> Result<Image> {
        let _lock = self.lock_shared()?;
        self.load(self.manifest(name)?)
    }

    /// Checks everything the image refers to, its packages included.
    pub fn verify(&self, name: &str) -> Result<()> {
        let _lock = self.lock_shared()?;
        let manifest = self.manifest(name)?;
        for blob in manifest.blobs() {
            self.blobs.read(blob, name)?;
        }
        manifest.disk.iter().try_for_each(|disk| self.verify_disk(disk, name))
    }

    /// Removes an image or a system that is kept, everything nothing else refers
    /// to, and what broken downloads left. Returns the bytes freed.
    pub fn remove(&self, name: &str) -> Result<u64> {
        if let Some(freed) = self.forget(name)? {
            return Ok(freed);
        }
        let path = self.manifest_path(name)?;
        let _pull = self.lock_pull()?;
        let _lock = self.lock_exclusive()?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotPulled { name: name.to_owned() });
            }
            Err(e) => return Err(Error::io("remove", &path, e)),
        }
        self.collect()
    }

    /// Makes `manifest` the image of its name, and drops what only the former
    /// image of that name needed. The caller holds `pull.lock`.
    pub(crate) fn commit(&self, manifest: &Manifest) -> Result<()> {
        let path = self.manifest_path(&manifest.name)?;
        let mut json = serde_json::to_vec_pretty(manifest)
            .map_err(|e| Error::io("write", &path, io::Error::other(e)))?;
        json.push(b'\n');
        let _lock = self.lock_exclusive()?;
        write_whole(&self.temp(), &path, &json)?;
        self.collect()?;
        Ok(())
    }

    /// The image of that name as its manifest has it. The caller holds a lock.
    pub(crate) fn manifest(&self, name: &str) -> Result<Manifest> {
        let path = self.manifest_path(name)?;
        let damaged = |what: String| {
            let (image, path) = (name.to_owned(), path.clone());
            Error::Damaged { image, path, what }
        };
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotPulled { name: name.to_owned() });
            }
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        if size > MAX_MANIFEST {
            return Err(damaged(format!("has {size} bytes")));
        }
        let json = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let manifest: Manifest =
            serde_json::from_slice(&json).map_err(|e| damaged(format!("cannot be read: {e}")))?;
        if manifest.schema != SCHEMA {
            return Err(damaged("is of another version of Ringfence".to_owned()));
        }
        if manifest.name != name {
            return Err(damaged(format!("is about `{}`", manifest.name)));
        }
        Ok(manifest)
    }

    /// The bytes that `manifest` refers to. The caller holds a lock.
    pub(crate) fn load(&self, manifest: Manifest) -> Result<Image> {
        let read = |blob| self.blobs.read(blob, &manifest.name);
        let kernel = read(&manifest.kernel)?;
        let initrd = manifest.initrd.as_ref().map(read).transpose()?;
        let disk = manifest.disk.map(|disk| self.disk_path(&disk.digest));
        Ok(Image { manifest, kernel, initrd, disk })
    }

    /// Removes what nothing refers to; returns the bytes freed. The caller
    /// holds both locks. Keeps everything while a manifest cannot be read: it
    /// may be a newer Ringfence's.
    pub(crate) fn collect(&self) -> Result<u64> {
        let mut keep = BTreeSet::new();
        let kept = self.all_kept()?.into_iter().map(|(name, kept)| (name, kept.map(|kept| kept.image)));
        for (name, manifest) in self.manifests()?.into_iter().chain(kept) {
            match manifest {
                Ok(manifest) => {
                    keep.extend(manifest.blobs().map(|b| b.digest));
                    keep.extend(manifest.disk.map(|disk| disk.digest));
                }
                Err(e) => {
                    tracing::warn!("not collecting garbage, for the sake of `{name}`: {e}");
                    return Ok(0);
                }
            }
        }
        for dir in [self.temp(), self.downloads()] {
            empty(&dir)?;
        }
        Ok(self.retain_disks(&keep)? + self.blobs.retain(&keep)?)
    }

    fn manifests(&self) -> Result<Vec<(String, Result<Manifest>)>> {
        let dir = self.root.join("images");
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|e| Error::io("list", &dir, e))? {
            let entry = entry.map_err(|e| Error::io("list", &dir, e))?;
            let file = entry.file_name();
            if let Some(name) = file.to_str().and_then(|f| f.strip_suffix(".json")) {
                all.push((name.to_owned(), self.manifest(name)));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    fn manifest_path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join("images").join(format!("{name}.json")))
    }

    /// Where files are written before they appear under their name.
    pub(crate) fn temp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where packages are downloaded to; what is partial stays until a pull succeeds.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.root.join("apt/downloads")
    }

    pub(crate) fn lock_shared(&self) -> Result<Lock> {
        Lock::shared(&self.root.join("store.lock"), self.waits)
    }

    pub(crate) fn lock_exclusive(&self) -> Result<Lock> {
        Lock::exclusive(&self.root.join("store.lock"), self.waits)
    }

    pub(crate) fn lock_pull(&self) -> Result<Lock> {
        Lock::exclusive(&self.root.join("pull.lock"), self.waits)
    }
}

fn log(text: &str) {
    tracing::warn!("{text}");
}

/// Removes the files in `dir`, which need not exist.
fn empty(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("list", dir, e)),
    };
    for entry in entries {
        let path = entry.map_err(|e| Error::io("list", dir, e))?.path();
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
    }
    Ok(())
}
