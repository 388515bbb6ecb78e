//! Directories that only their user can enter: where running machines and switches have their sockets. Whoever can enter
//! one reaches what listens there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why a directory is not this user's alone.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// Somebody else could interfere.
    #[error(
        "{0} is not a directory of this user's alone (mode 0700): remove it, or set XDG_RUNTIME_DIR to one that is"
    )]
    Open(PathBuf),
    /// The host refuses.
    #[error("the directory {path}: {error}")]
    Host {
        /// The path.
        path: PathBuf,
        /// The host's word.
        error: io::Error,
    },
}

/// Where the user who runs this has what runs: `$XDG_RUNTIME_DIR/ringfence`, or `ringfence-UID` in the directory for
/// temporary files. It need not be there.
pub fn runtime_directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(path) if Path::new(&path).is_absolute() => PathBuf::from(path).join("ringfence"),
        _ => std::env::temp_dir().join(format!("ringfence-{}", nix::unistd::geteuid())),
    }
}

/// Makes a directory that only this user can enter, or checks that it is one. A symbolic link is none.
///
/// # Errors
/// [`PrivateError`].
pub fn private_directory(path: &Path) -> Result<(), PrivateError> {
    let host = |error| PrivateError::Host { path: path.to_owned(), error };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(host(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(path).map_err(host)?;
    let ours = found.uid() == nix::unistd::geteuid().as_raw();
    if found.is_dir() && ours && found.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(PrivateError::Open(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_no_file_link_or_open_directory_is_taken_for_one() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let is_open =
            |name| matches!(private_directory(&at(name)), Err(PrivateError::Open(path)) if path == at(name));
        private_directory(&at("a")).unwrap();
        assert_eq!(fs::metadata(at("a")).unwrap().permissions().mode() & 0o777, 0o700);
        private_directory(&at("a")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        fs::write(at("file"), "").unwrap();
        assert!(is_open("link") && is_open("file"));
        for mode in [0o710, 0o701, 0o704, 0o777] {
            fs::set_permissions(at("a"), fs::Permissions::from_mode(mode)).unwrap();
            assert!(is_open("a"), "{mode:o}");
        }
        assert!(matches!(private_directory(&at("none/b")), Err(PrivateError::Host { .. })));
    }

    #[test]
    fn the_runtime_directory_is_absolute_and_ours_by_name() {
        let path = runtime_directory();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(path.is_absolute() && name.starts_with("ringfence"), "{path:?}");
    }
}
