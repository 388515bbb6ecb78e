//! Systems that somebody runs and keeps: an image, and a layer over its disk with what its guest wrote.
//!
//! ```text
//! kept/<name>.json      of which image, whose manifest it holds: that image may be built anew, or removed
//! kept/<name>.qcow2     the layer; whoever runs the system makes it and has it locked
//! ```
//!
//! A system has the kernel, the RAM disk and the disk of the image as it was when the system began; the
//! store keeps them as long as the system is there. Names are those of images: there is no image and no system of
//! the same name.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::blobs::write_whole;
use crate::disk::allocated;
use crate::manifest::{SCHEMA, check_name};
use crate::pull::now;
use crate::{Error, Image, Manifest, Recipe, Result, Store};

/// The largest description that is read, in bytes.
const MAX: u64 = 1 << 20;

/// A system that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The version of this form.
    schema: u32,
    /// Its name.
    pub name: String,
    /// The image that it began as.
    pub image: Manifest,
    /// When it began, in seconds since 1970-01-01 00:00 UTC.
    pub created: u64,
}

impl Store {
    /// Begins to keep a system of the image `manifest`, which must have a disk.
    ///
    /// # Errors
    /// Where the name is an image's, or another system's, or the image is gone.
    pub fn keep_system(&self, name: &str, manifest: &Manifest) -> Result<Kept> {
        let path = self.kept_path(name, "json")?;
        let _lock = self.lock_exclusive()?;
        if Recipe::of(name).is_ok() || self.manifest(name).is_ok() || path.exists() {
            return Err(Error::NameInUse { name: name.to_owned() });
        }
        let kept = Kept { schema: SCHEMA, name: name.to_owned(), image: manifest.clone(), created: now() };
        let mut json =
            serde_json::to_vec_pretty(&kept).map_err(|e| Error::io("write", &path, io::Error::other(e)))?;
        json.push(b'\n');
        write_whole(&self.temp(), &path, &json)?;
        Ok(kept)
    }

    /// The system of this name, if there is one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn kept(&self, name: &str) -> Result<Option<Kept>> {
        let path = self.kept_path(name, "json")?;
        let damaged = |what: String| Error::Damaged { image: name.to_owned(), path: path.clone(), what };
        match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path, e)),
            Ok(metadata) if metadata.len() > MAX => {
                return Err(damaged(format!("has {} bytes", metadata.len())));
            }
            Ok(_) => {}
        }
        let json = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let kept: Kept =
            serde_json::from_slice(&json).map_err(|e| damaged(format!("cannot be read: {e}")))?;
        match kept.schema == SCHEMA && kept.name == name {
            true => Ok(Some(kept)),
            false => Err(damaged("is of another version of Ringfence, or of another system".to_owned())),
        }
    }

    /// All systems, by name; one that cannot be read is an error in its place.
    ///
    /// # Errors
    /// Where they cannot be listed.
    pub fn all_kept(&self) -> Result<Vec<(String, Result<Kept>)>> {
        let dir = self.kept_dir();
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|e| Error::io("list", &dir, e))? {
            let entry = entry.map_err(|e| Error::io("list", &dir, e))?;
            let file = entry.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".json")) else { continue };
            match self.kept(name) {
                Ok(Some(kept)) => all.push((name.to_owned(), Ok(kept))),
                Ok(None) => {}
                Err(e) => all.push((name.to_owned(), Err(e))),
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// The image of a system, as it was when that began; each byte but the disk's is checked.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn image_of(&self, kept: &Kept) -> Result<Image> {
        let _lock = self.lock_shared()?;
        self.load(kept.image.clone())
    }

    /// The file of a system's layer, which is there once the system has run.
    pub fn layer_of(&self, kept: &Kept) -> PathBuf {
        self.kept_dir().join(format!("{}.qcow2", kept.name))
    }

    /// What a system's layer takes on the host, in bytes.
    pub fn layer_takes(&self, kept: &Kept) -> u64 {
        fs::metadata(self.layer_of(kept)).map_or(0, |metadata| allocated(&metadata))
    }

    /// Removes a system and what only it needed. Returns the bytes freed; `None` if there is no such system.
    ///
    /// # Errors
    /// Where it runs, or cannot be removed.
    pub(crate) fn forget(&self, name: &str) -> Result<Option<u64>> {
        let (path, layer) = (self.kept_path(name, "json")?, self.kept_path(name, "qcow2")?);
        if !path.exists() {
            return Ok(None);
        }
        let _pull = self.lock_pull()?;
        let _lock = self.lock_exclusive()?;
        let mut freed = 0;
        match File::open(&layer) {
            Ok(file) => {
                // Who runs it has it locked.
                match file.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => return Err(Error::Running { name: name.to_owned() }),
                    Err(TryLockError::Error(e)) => return Err(Error::io("lock", &layer, e)),
                }
                freed = file.metadata().map_or(0, |metadata| allocated(&metadata));
                fs::remove_file(&layer).map_err(|e| Error::io("remove", &layer, e))?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("open", &layer, e)),
        }
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        Ok(Some(freed + self.collect()?))
    }

    fn kept_dir(&self) -> PathBuf {
        self.root().join("kept")
    }

    fn kept_path(&self, name: &str, kind: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.kept_dir().join(format!("{name}.{kind}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Disk, Kind, Userspace};

    fn image(store: &Store) -> Manifest {
        let disk = store.root().join("disks").join(format!("{}.raw", Digest::of(b"disk").hex()));
        fs::write(disk, "disk").unwrap();
        let manifest = Manifest {
            schema: SCHEMA,
            name: "full".to_owned(),
            description: String::new(),
            kind: Kind::Linux,
            userspace: Userspace::System,
            kernel: store.blobs.put(b"kernel").unwrap(),
            initrd: None,
            command_line: String::new(),
            packages: vec![],
            disk: Some(Disk { digest: Digest::of(b"disk"), size: 4 }),
            built: None,
            ours: Digest::of(b""),
            created: 1,
        };
        store.commit(&manifest).unwrap();
        manifest
    }

    #[test]
    fn a_system_outlives_its_image() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let manifest = image(&store);
        let kept = store.keep_system("web", &manifest).unwrap();
        store.remove("full").unwrap();
        let found = store.kept("web").unwrap().unwrap();
        assert_eq!(found, kept);
        let image = store.image_of(&found).unwrap();
        assert_eq!((&image.kernel[..], image.disk.unwrap().exists()), (&b"kernel"[..], true));
        fs::write(store.layer_of(&found), "layer").unwrap();
        let running = File::open(store.layer_of(&found)).unwrap();
        running.lock().unwrap();
        assert!(store.remove("web").unwrap_err().to_string().contains("is running"));
        drop(running);
        store.remove("web").unwrap();
        assert_eq!(store.kept("web").unwrap(), None);
        for dir in ["disks", "blobs/sha256", "kept"] {
            assert_eq!(fs::read_dir(store.root().join(dir)).unwrap().count(), 0, "{dir}");
        }
    }

    #[test]
    fn names_are_given_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let manifest = image(&store);
        store.keep_system("web", &manifest).unwrap();
        for taken in ["web", "full", "debian"] {
            let message = store.keep_system(taken, &manifest).unwrap_err().to_string();
            assert!(message.contains(&format!("`{taken}`")), "{message}");
        }
        assert!(matches!(store.keep_system("../x", &manifest), Err(Error::BadName { .. })));
    }

    #[test]
    fn damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.keep_system("web", &image(&store)).unwrap();
        fs::copy(dir.path().join("kept/web.json"), dir.path().join("kept/other.json")).unwrap();
        fs::write(dir.path().join("kept/web.json"), "{").unwrap();
        let all = store.all_kept().unwrap();
        assert!(all.len() == 2 && all.iter().all(|(_, kept)| matches!(kept, Err(Error::Damaged { .. }))));
        assert!(store.collect().unwrap() == 0, "nothing is thrown away while it is not known what is needed");
    }
}
