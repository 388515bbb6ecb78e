//! The tar archive that an installer unpacks onto the new disk.
//!
//! It holds what has to be there before a package manager can run, packages' files laid out as they say, and what
//! the installer does the rest with, packages as such among it. Nothing of it is ever unpacked on the host, where
//! nobody but root could give files to root.
//!
//! The layout is that of merged /usr: `/bin`, `/sbin`, `/lib` and `/lib64` are links, and what a package has below
//! them comes to lie below /usr. dpkg itself follows such links; but the links have to be there first.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::deb::{self, Entry, Kind};

/// The directories at the root that are links.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// An archive that is being written.
pub(crate) struct Tree<W: Write> {
    tar: Builder<W>,
    directories: BTreeSet<String>,
}

impl<W: Write> Tree<W> {
    /// Begins one in `to`: the directories of a merged /usr.
    pub(crate) fn new(to: W) -> io::Result<Self> {
        let mut tree = Self { tar: Builder::new(to), directories: BTreeSet::new() };
        tree.directory("usr", 0o755)?;
        for name in MERGED {
            tree.directory(&format!("usr/{name}"), 0o755)?;
            let mut header = header(EntryType::Symlink, 0o777);
            tree.tar.append_link(&mut header, name, format!("usr/{name}"))?;
        }
        Ok(tree)
    }

    /// Adds a directory, unless it is there.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        if self.directories.insert(path.to_owned()) {
            self.tar.append_data(&mut header(EntryType::Directory, mode), format!("{path}/"), io::empty())?;
        }
        Ok(())
    }

    /// Adds a file, and its directories.
    pub(crate) fn file(&mut self, path: &str, mode: u32, size: u64, content: impl Read) -> io::Result<()> {
        let path = merged(path);
        for (slash, _) in path.match_indices('/') {
            self.directory(&path[..slash], 0o755)?;
        }
        let mut header = header(EntryType::Regular, mode);
        header.set_size(size);
        self.tar.append_data(&mut header, path, content)
    }

    /// Adds what the package `deb` holds.
    pub(crate) fn package(&mut self, deb: impl Read) -> Result<(), deb::Error> {
        deb::entries(deb, |entry| self.entry(entry).map_err(deb::Error::Damaged))
    }

    fn entry(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let path = merged(&entry.path);
        let mut header = header(EntryType::Regular, entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(entry.modified);
        match entry.kind {
            Kind::Directory if MERGED.contains(&&*entry.path) || path.is_empty() => Ok(()),
            Kind::Directory => match self.directories.insert(path.clone()) {
                true => {
                    header.set_entry_type(EntryType::Directory);
                    self.tar.append_data(&mut header, format!("{path}/"), io::empty())
                }
                false => Ok(()),
            },
            Kind::File { size, content } => {
                header.set_size(size);
                self.tar.append_data(&mut header, path, content)
            }
            Kind::Symlink { target } => {
                header.set_entry_type(EntryType::Symlink);
                self.tar.append_link(&mut header, path, target)
            }
            Kind::HardLink { target } => {
                header.set_entry_type(EntryType::Link);
                self.tar.append_link(&mut header, path, merged(&target))
            }
        }
    }

    /// Ends it. Gives where it was written to.
    pub(crate) fn end(self) -> io::Result<W> {
        self.tar.into_inner()
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// Where `path` lies where /usr is merged.
fn merged(path: &str) -> String {
    let top = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&top) && path.len() > top.len() { format!("usr/{path}") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb::tests::package;

    fn listed(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        let entry = |entry: io::Result<tar::Entry<'_, _>>| {
            let entry = entry.unwrap();
            let target = entry.link_name().unwrap().map(|to| format!(" -> {}", to.display()));
            format!("{}{}", entry.path().unwrap().display(), target.unwrap_or_default())
        };
        archive.entries().unwrap().map(entry).collect()
    }

    #[test]
    fn what_lies_below_a_link_goes_below_usr() {
        let mut tree = Tree::new(vec![]).unwrap();
        tree.package(&package(&[("./bin/sh", b"sh"), ("./usr/bin/env", b"env"), ("./etc/issue", b"")])[..])
            .unwrap();
        tree.file("ringfence/install", 0o755, 2, &b"it"[..]).unwrap();
        let all = listed(&tree.end().unwrap());
        for path in ["bin -> usr/bin", "usr/bin/", "usr/bin/sh", "usr/bin/env", "etc/issue", "ringfence/"] {
            assert_eq!(all.iter().filter(|listed| *listed == path).count(), 1, "{path} in {all:?}");
        }
        assert!(!all.contains(&"bin/sh".to_owned()));
    }

    #[test]
    fn names_longer_than_a_header_has_room_for() {
        let name = format!("lib/{}", "x".repeat(97));
        let mut tree = Tree::new(vec![]).unwrap();
        tree.file(&name, 0o644, 1, &b"x"[..]).unwrap();
        assert!(listed(&tree.end().unwrap()).contains(&format!("usr/{name}")));
    }
}
