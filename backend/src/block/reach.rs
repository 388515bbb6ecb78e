//! How far an image reaches: which files it may name as being behind it.
//!
//! An image is foreign bytes, and its backing name a claim on a file of the host. It gets one if the name is a path of
//! plain components that leads *down* from the image's own directory, through real directories, to a regular file: no
//! `/` in front, no `..`, no symbolic link at any step. Whoever wants another file behind an image says so on the
//! command line, where it is the user's word.
//!
//! The path is walked from descriptor to descriptor, so nobody can exchange a directory meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Error, Result};

/// A directory, and what lies below it.
#[derive(Debug)]
pub struct Reach {
    directory: File,
    /// For messages.
    path: PathBuf,
}

/// A file's identity on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(u64, u64);

impl Identity {
    /// Of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self(metadata.dev(), metadata.ino()))
    }
}

impl Reach {
    /// The reach of an image that the user named: its directory.
    pub fn of(image: &Path) -> Result<Self> {
        let parent = match image.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory =
            File::open(parent).map_err(|source| Error::Open { path: parent.to_owned(), source })?;
        Ok(Self { directory, path: parent.to_owned() })
    }

    /// Opens the image that `image` names as the one behind it. Gives its path for messages, and its own reach.
    pub fn open(&self, image: &Path, name: &str) -> Result<(File, PathBuf, Self)> {
        self.walk(name).map_err(|reason| Error::Backing {
            path: image.to_owned(),
            name: name.to_owned(),
            reason: reason.to_string(),
        })
    }

    fn walk(&self, name: &str) -> std::result::Result<(File, PathBuf, Self), Unreachable> {
        let mut steps = Vec::new();
        for component in Path::new(name).components() {
            match component {
                Component::CurDir => {}
                Component::Normal(step) => steps.push(step),
                _ => return Err(Unreachable::Outside),
            }
        }
        let last = steps.pop().ok_or(Unreachable::Outside)?;
        let (mut directory, mut path) = (self.directory.try_clone()?, self.path.clone());
        for step in steps {
            directory = open_at(&directory, Path::new(step), OFlag::O_DIRECTORY)?;
            path.push(step);
        }
        let file = open_at(&directory, Path::new(last), OFlag::O_NONBLOCK)?;
        if !file.metadata()?.is_file() {
            return Err(Unreachable::NoFile);
        }
        let below = Self { directory, path: path.clone() };
        path.push(last);
        Ok((file, path, below))
    }
}

fn open_at(directory: &File, step: &Path, flag: OFlag) -> std::result::Result<File, Unreachable> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | flag;
    match openat(directory.as_fd(), step, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        // What O_NOFOLLOW says of a link; with O_DIRECTORY it is ENOTDIR.
        Err(nix::Error::ELOOP) => Err(Unreachable::Link),
        Err(nix::Error::ENOTDIR) => Err(Unreachable::Link),
        Err(error) => Err(Unreachable::Host(error.into())),
    }
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
enum Unreachable {
    #[error(
        "only a file below the image's own directory may be behind it; say backing=PATH if you mean that file"
    )]
    Outside,
    #[error("a step of it is a symbolic link or no directory; say backing=PATH if you mean that file")]
    Link,
    #[error("it is not a regular file")]
    NoFile,
    #[error("{0}; say backing=PATH if it lies elsewhere now")]
    Host(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_lies_below_is_reached() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("images");
        std::fs::create_dir_all(root.join("base/deep")).unwrap();
        for file in ["base/deep/a.raw", "base/b.raw", "c.raw", "../secret"] {
            std::fs::write(root.join(file), file).unwrap();
        }
        symlink("../secret", root.join("link")).unwrap();
        symlink("base", root.join("way")).unwrap();
        symlink("c.raw", root.join("harmless")).unwrap();
        let image = root.join("image.qcow2");
        let reach = Reach::of(&image).unwrap();
        for name in ["base/deep/a.raw", "base/b.raw", "c.raw", "./c.raw", "base//b.raw"] {
            let (file, path, _) = reach.open(&image, name).unwrap();
            assert_eq!(Identity::of(&file).unwrap(), Identity::of(&File::open(&path).unwrap()).unwrap());
        }
        let secret = root.join("../secret");
        for name in [
            secret.to_str().unwrap(),
            "../secret",
            "base/../../secret",
            "base/../c.raw",
            "link",
            "harmless",
            "way/b.raw",
            "c.raw/x",
            "base",
            "",
            ".",
            "/",
            "/dev/null",
            "absent",
            "json:{\"driver\":\"file\"}",
            "nbd://host/export",
        ] {
            assert!(matches!(reach.open(&image, name), Err(Error::Backing { .. })), "{name}");
        }
    }

    #[test]
    fn what_is_below_reaches_from_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("base")).unwrap();
        std::fs::write(root.path().join("base/b"), "").unwrap();
        std::fs::write(root.path().join("c"), "").unwrap();
        let image = root.path().join("image");
        let (_, path, below) = Reach::of(&image).unwrap().open(&image, "base/b").unwrap();
        assert_eq!(path, root.path().join("base/b"));
        assert!(below.open(&path, "b").is_ok());
        assert!(below.open(&path, "c").is_err() && below.open(&path, "../c").is_err());
    }

    #[test]
    fn a_fifo_does_not_hold_us_up() {
        let root = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&root.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let image = root.path().join("image");
        assert!(Reach::of(&image).unwrap().open(&image, "pipe").is_err());
    }
}
