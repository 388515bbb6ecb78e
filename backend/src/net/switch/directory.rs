//! Where the ports of a switch find each other: a directory of sockets, one a port, that only its user can enter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base::PrivateError;

use super::port::PortId;

/// Why there is no switch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be one.
    #[error(
        "`{0}` cannot be a switch's name: use 1 to 32 letters, digits, `-`, `_` and `.`, and begin with no `.`"
    )]
    Name(String),
    /// The directory is not this user's alone.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The path is too long for a socket's address.
    #[error("{0} is too long for the address of a socket: set XDG_RUNTIME_DIR to a shorter one")]
    Long(PathBuf),
    /// The host refuses.
    #[error("the switch's directory {path}: {error}")]
    Host {
        /// The path.
        path: PathBuf,
        /// The host's word.
        error: io::Error,
    },
    /// Too many ports.
    #[error("the switch has {0} ports already, which is the most")]
    Full(usize),
}

/// A switch's directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Bytes in a socket's address (`sun_path`, with the zero at its end), less a port's name.
    const LONGEST: usize = 108 - 1 - 18;

    /// Can a switch have this name?
    pub fn is_name(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=32).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
    }

    /// That of the switch of this name and of the user who runs this. It is made if it is not there.
    ///
    /// # Errors
    /// [`Error`], but [`Error::Full`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Self::below(&base::runtime_directory(), name)
    }

    /// That of the switch of this name below a directory.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub fn below(root: &Path, name: &str) -> Result<Self, Error> {
        if !Self::is_name(name) {
            return Err(Error::Name(name.to_owned()));
        }
        let mut path = root.to_owned();
        base::private_directory(&path)?;
        for part in ["switch", name] {
            path.push(part);
            base::private_directory(&path)?;
        }
        if path.as_os_str().len() > Self::LONGEST {
            return Err(Error::Long(path));
        }
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a port's socket is, or, before it is bound, will be.
    pub fn socket(&self, port: PortId, bound: bool) -> PathBuf {
        self.path.join(format!("{}{:016x}", if bound { "" } else { "." }, port.0))
    }

    /// The ports that are there, at most `most` of them.
    pub fn ports(&self, most: usize) -> Vec<PortId> {
        let port = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let name = name.to_str().filter(|name| name.len() == 16)?;
            u64::from_str_radix(name, 16).ok().map(PortId)
        };
        fs::read_dir(&self.path).into_iter().flatten().flatten().filter_map(port).take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::private_folder;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn names_stay_names() {
        let root = private_folder();
        for bad in ["", ".", "..", ".hidden", "a/b", "a\0b", "a b", "é", &"x".repeat(33)] {
            assert!(matches!(Directory::below(root.path(), bad), Err(Error::Name(_))), "{bad:?}");
        }
        let directory = Directory::below(root.path(), "blue-1.x_y").unwrap();
        assert_eq!(directory.path(), root.path().join("switch/blue-1.x_y"));
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_others_can_enter_is_refused_as_are_links() {
        let root = private_folder();
        let switch = root.path().join("switch");
        Directory::below(root.path(), "blue").unwrap();
        fs::set_permissions(&switch, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(
            matches!(Directory::below(root.path(), "blue"), Err(Error::Private(PrivateError::Open(path))) if path == switch)
        );
        fs::rename(&switch, root.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(root.path().join("elsewhere"), &switch).unwrap();
        assert!(matches!(Directory::below(root.path(), "blue"), Err(Error::Private(PrivateError::Open(_)))));
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_told() {
        let root = private_folder();
        let long = root.path().join("x".repeat(90));
        assert!(matches!(Directory::below(&long, "blue"), Err(Error::Long(_))));
    }

    #[test]
    fn only_ports_are_listed() {
        let root = private_folder();
        let directory = Directory::below(root.path(), "blue").unwrap();
        let port = PortId(0xabc);
        fs::write(directory.socket(port, true), "").unwrap();
        fs::write(directory.socket(PortId(5), false), "").unwrap();
        fs::write(directory.path().join("readme"), "").unwrap();
        assert_eq!(directory.ports(9), [port]);
        assert!(directory.ports(0).is_empty());
    }
}
