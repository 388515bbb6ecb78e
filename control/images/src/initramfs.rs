//! A root file system in memory, written as the archive that Linux unpacks.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::{Compression, GzBuilder};

use crate::cpio::{self, Entry, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};

/// The most that all files together may hold, in bytes. A guest unpacks it all
/// into its memory, so more helps nobody.
pub const MAX_TOTAL: u64 = 1 << 30;

/// Why a file system cannot be composed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that names no place under the root.
    #[error("`{0}` is not a path in a root file system: use names between slashes, without `..`")]
    Path(String),
    /// A path through something that is not a directory.
    #[error("`{path}` cannot be in the initial RAM disk: `{parent}` there is not a directory")]
    NotADirectory {
        /// The path that was to be added.
        path: String,
        /// The part of it that is something else.
        parent: String,
    },
    /// A directory that something else would hide.
    #[error("`{0}` is a directory of the initial RAM disk, and cannot become something else")]
    IsADirectory(String),
    /// Too much.
    #[error("the initial RAM disk would hold more than {0}")]
    TooLarge(&'static str),
    /// Something other than files, directories, symbolic links and character devices.
    #[error("`{0}` in the initial RAM disk is of a kind that is not supported")]
    Kind(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Dir { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Symlink { target: String },
    CharDevice { mode: u32, device: (u32, u32) },
}

/// A root file system: files, directories, symbolic links, character devices,
/// all owned by root. Equal content gives equal archives.
///
/// Paths may begin with `/` or not. Missing parent directories are made, mode
/// 0755. A file, link or device replaces an earlier one of the same path.
///
/// ```
/// let mut root = ringfence_images::Initramfs::new();
/// root.file("/init", 0o755, b"#!/bin/sh\n".to_vec())?;
/// root.symlink("bin/sh", "busybox")?;
/// assert!(root.newc().starts_with(b"070701"));
/// # Ok::<_, ringfence_images::initramfs::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initramfs {
    /// By path without leading slash: a directory sorts before what is in it.
    nodes: BTreeMap<String, Node>,
    /// What the files hold together.
    total: u64,
}

impl Initramfs {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads an uncompressed newc archive, to add to it.
    pub fn read(archive: &[u8]) -> crate::Result<Self> {
        let mut root = Self::new();
        for entry in cpio::read(archive)? {
            root.entry(entry)?;
        }
        Ok(root)
    }

    fn entry(&mut self, entry: Entry<'_>) -> Result<(), Error> {
        let Entry { name, mode, content, device } = entry;
        let kind = mode & S_IFMT;
        let mode = mode & !S_IFMT;
        if kind == S_IFDIR && matches!(name, "." | "/" | "./") {
            return Ok(());
        }
        let name = name.strip_prefix("./").unwrap_or(name);
        match kind {
            S_IFDIR => self.dir(name, mode),
            S_IFREG => self.file(name, mode, content.to_vec()),
            S_IFLNK => {
                let target = std::str::from_utf8(content).map_err(|_| Error::Kind(name.to_owned()))?;
                self.symlink(name, target)
            }
            S_IFCHR => self.char_device(name, mode, device.0, device.1),
            _ => Err(Error::Kind(name.to_owned())),
        }
    }

    /// Adds a directory, or changes the mode of the one there.
    pub fn dir(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        self.put(path, Node::Dir { mode: mode & 0o7777 })
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) -> Result<(), Error> {
        self.put(path, Node::File { mode: mode & 0o7777, bytes })
    }

    /// Adds a symbolic link to `target`.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        if target.is_empty() || target.len() >= cpio::MAX_NAME || target.contains('\0') {
            return Err(Error::Path(target.to_owned()));
        }
        self.put(path, Node::Symlink { target: target.to_owned() })
    }

    /// Adds a character device.
    pub fn char_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) -> Result<(), Error> {
        self.put(path, Node::CharDevice { mode: mode & 0o7777, device: (major, minor) })
    }

    fn put(&mut self, path: &str, node: Node) -> Result<(), Error> {
        let path = clean(path)?;
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            match self.nodes.get(parent) {
                Some(Node::Dir { .. }) => {}
                Some(_) => {
                    let (path, parent) = (path.to_owned(), parent.to_owned());
                    return Err(Error::NotADirectory { path, parent });
                }
                None => self.insert(parent, Node::Dir { mode: 0o755 })?,
            }
        }
        self.insert(path, node)
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<(), Error> {
        let size = |node: Option<&Node>| match node {
            Some(Node::File { bytes, .. }) => bytes.len() as u64,
            _ => 0,
        };
        let old = self.nodes.get(path);
        if matches!(old, Some(Node::Dir { .. })) && !matches!(node, Node::Dir { .. }) {
            return Err(Error::IsADirectory(path.to_owned()));
        }
        let total = self.total - size(old) + size(Some(&node));
        if total > MAX_TOTAL {
            return Err(Error::TooLarge("1 GiB"));
        }
        if old.is_none() && self.nodes.len() == cpio::MAX_ENTRIES {
            return Err(Error::TooLarge("100000 entries"));
        }
        self.nodes.insert(path.to_owned(), node);
        self.total = total;
        Ok(())
    }

    /// Whether there is anything at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path.trim_start_matches('/'))
    }

    /// The file at `path`, if it is one.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        match self.nodes.get(path.trim_start_matches('/'))? {
            Node::File { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// The newc archive.
    pub fn newc(&self) -> Vec<u8> {
        cpio::write(self.nodes.iter().map(|(name, node)| {
            let (mode, content, device) = match node {
                Node::Dir { mode } => (S_IFDIR | mode, &[][..], (0, 0)),
                Node::File { mode, bytes } => (S_IFREG | mode, &bytes[..], (0, 0)),
                Node::Symlink { target } => (S_IFLNK | 0o777, target.as_bytes(), (0, 0)),
                Node::CharDevice { mode, device } => (S_IFCHR | mode, &[][..], *device),
            };
            Entry { name, mode, content, device }
        }))
    }

    /// The newc archive, compressed with gzip: smaller, but a guest without
    /// hardware virtualization unpacks it slower than it reads the plain one.
    pub fn gzip(&self) -> Vec<u8> {
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        let done = gzip.write_all(&self.newc()).and_then(|()| gzip.finish());
        done.expect("writing to memory cannot fail")
    }
}

/// `path` without its leading slashes, if it names a place under the root.
fn clean(path: &str) -> Result<&str, Error> {
    let clean = path.trim_start_matches('/');
    let good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if clean.len() < cpio::MAX_NAME && clean != "TRAILER!!!" && clean.split('/').all(good) {
        Ok(clean)
    } else {
        Err(Error::Path(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn small() -> Initramfs {
        let mut root = Initramfs::new();
        root.file("/init", 0o755, b"#!/bin/sh\n".to_vec()).unwrap();
        root.symlink("usr/bin/sh", "../../bin/busybox").unwrap();
        root.char_device("dev/console", 0o600, 5, 1).unwrap();
        root.dir("tmp", 0o1777).unwrap();
        root
    }

    #[test]
    fn parents_come_first_and_once() {
        let archive = small().newc();
        let names: Vec<_> = cpio::read(&archive).unwrap().iter().map(|e| e.name).collect();
        assert_eq!(names, ["dev", "dev/console", "init", "tmp", "usr", "usr/bin", "usr/bin/sh"]);
    }

    #[test]
    fn modes_targets_and_numbers() {
        let archive = small().newc();
        let entries = cpio::read(&archive).unwrap();
        let find = |name| entries.iter().find(|e| e.name == name).unwrap();
        assert_eq!(find("init").mode, 0o100755);
        assert_eq!(find("tmp").mode, 0o041777);
        assert_eq!(find("usr/bin").mode, 0o040755);
        assert_eq!(find("usr/bin/sh").content, b"../../bin/busybox");
        assert_eq!((find("dev/console").mode, find("dev/console").device), (0o020600, (5, 1)));
    }

    #[test]
    fn equal_content_equal_bytes_and_back() {
        let mut other = Initramfs::new();
        other.dir("tmp", 0o1777).unwrap();
        other.char_device("/dev/console", 0o600, 5, 1).unwrap();
        other.file("init", 0o700, b"other".to_vec()).unwrap();
        other.symlink("/usr/bin/sh", "../../bin/busybox").unwrap();
        other.file("init", 0o755, b"#!/bin/sh\n".to_vec()).unwrap();
        assert_eq!(small().newc(), other.newc());
        assert_eq!(small().gzip(), other.gzip());
        assert_eq!(Initramfs::read(&small().newc()).unwrap(), small());
        assert_eq!(crate::deb::gunzip(&small().gzip()).unwrap(), small().newc());
    }

    #[test]
    fn composing_adds_and_replaces() {
        let mut root = Initramfs::read(&small().newc()).unwrap();
        root.file("/bin/stress", 0o755, vec![1, 2, 3]).unwrap();
        root.file("/init", 0o755, vec![4]).unwrap();
        assert_eq!(root.get("bin/stress"), Some(&[1, 2, 3][..]));
        assert_eq!(root.get("/init"), Some(&[4][..]));
        assert!(root.contains("/usr/bin/sh") && root.get("/usr/bin/sh").is_none());
    }

    #[test]
    fn impossible_trees() {
        let mut root = small();
        for bad in ["", "/", "..", "a/../b", "a//b", "a/", "./a", "a\0", "TRAILER!!!", &"a".repeat(4096)] {
            assert!(matches!(root.file(bad, 0, vec![]), Err(Error::Path(_))), "{bad}");
        }
        assert!(matches!(root.file("init/x", 0, vec![]), Err(Error::NotADirectory { .. })));
        assert!(matches!(root.symlink("usr/bin", "x"), Err(Error::IsADirectory(_))));
        assert!(matches!(root.symlink("x", ""), Err(Error::Path(_))));
        let fifo = Entry { name: "fifo", mode: 0o010644, content: &[], device: (0, 0) };
        let read = Initramfs::read(&cpio::write([fifo]));
        assert!(matches!(read, Err(crate::Error::Initramfs(Error::Kind(_)))));
    }

    proptest! {
        #[test]
        fn every_tree_round_trips(
            files in prop::collection::vec(("[ab]{1,2}(/[ab]{1,2}){0,3}", 0u32..0o10000, any::<Vec<u8>>()), 0..20),
        ) {
            let mut root = Initramfs::new();
            for (path, mode, bytes) in files {
                // Some are refused for what came before.
                let _ = root.file(&path, mode, bytes);
            }
            prop_assert_eq!(Initramfs::read(&root.newc()).unwrap(), root);
        }
    }
}
