//! Files in memory: made, written, read and removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::digest::Digest;
use crate::workload::Round;

const FILES: usize = 40;
const BYTES: usize = 10_000;

/// A folder that goes when we do.
struct Folder(PathBuf);

impl Folder {
    /// In memory where there is such a place: `/dev/shm` (shm_overview(7)), else `/tmp`.
    fn new() -> io::Result<Self> {
        let place = ["/dev/shm", "/tmp"].map(Path::new).into_iter().find(|place| place.is_dir());
        let folder = place.unwrap_or(Path::new("/")).join(format!("ringfence-bench-{}", process::id()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn start() -> io::Result<Round> {
    let folder = Folder::new()?;
    let bytes: Vec<u8> = (0..BYTES).map(|at| (at / 7) as u8).collect();
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        for file in 0..FILES {
            let path = folder.0.join(format!("file-{file}"));
            fs::write(&path, &bytes[file..])?;
            let back = fs::read(&path)?;
            digest.add(fs::metadata(&path)?.len() + u64::from(back[back.len() / 2]));
            fs::remove_file(&path)?;
        }
        Ok(digest.value())
    }))
}
