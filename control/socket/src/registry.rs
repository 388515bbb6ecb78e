//! Where the machines of a user are found: a directory that only he can enter, with two files a machine.
//!
//! ```text
//!   NAME.lock   locked (flock(2)) for as long as the machine's process lives, however that ends
//!   NAME.sock   where it listens
//! ```
//!
//! So a name is taken by who has the lock, without a race, and what stands beside a lock that nobody has was left by a
//! dead machine: it is swept when the name is taken again, and when machines are listed. A lock's file goes only
//! while it is locked, and who locks one looks whether it is still the one of that name.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::PrivateError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::Name;

/// Why there is no place for a machine.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The name is taken.
    #[error(
        "a machine named `{0}` is running already: choose another name, or end it with `ringfence stop {0}`"
    )]
    InUse(Name),
    /// The directory is not this user's alone.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The path is too long for a socket's address.
    #[error("{0} is too long for the address of a socket: set XDG_RUNTIME_DIR to a shorter one")]
    Long(PathBuf),
    /// The host refuses.
    #[error("the directory of running machines {path}: {error}")]
    Host {
        /// The path.
        path: PathBuf,
        /// The host's word.
        error: io::Error,
    },
}

/// How often a lock is tried that somebody may only be looking at, and how long it is waited for in between.
const TRIES: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(10);

/// The directory.
#[derive(Clone, Debug)]
pub struct Registry {
    directory: PathBuf,
}

impl Registry {
    /// Bytes in a socket's address (`sun_path`) before the zero at its end.
    const LONGEST: usize = 107;

    /// That of the user who runs this, `$XDG_RUNTIME_DIR/ringfence/vm` or `ringfence-UID/vm` in the directory for temporary
    /// files. It is made if it is not there.
    ///
    /// # Errors
    /// [`RegistryError`], but not [`RegistryError::InUse`].
    pub fn open() -> Result<Self, RegistryError> {
        Self::below(&base::runtime_directory())
    }

    /// That below another directory.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn below(root: &Path) -> Result<Self, RegistryError> {
        base::private_directory(root)?;
        let directory = root.join("vm");
        base::private_directory(&directory)?;
        Ok(Self { directory })
    }

    /// Where the machine of this name listens.
    pub fn socket(&self, name: &Name) -> PathBuf {
        self.directory.join(format!("{name}.sock"))
    }

    fn lock(&self, name: &Name) -> PathBuf {
        self.directory.join(format!("{name}.lock"))
    }

    /// Takes a name.
    ///
    /// # Errors
    /// [`RegistryError::InUse`] where a machine has it, and the others.
    pub fn claim(&self, name: &Name) -> Result<Claim, RegistryError> {
        let socket = self.socket(name);
        if socket.as_os_str().len() > Self::LONGEST {
            return Err(RegistryError::Long(socket));
        }
        let path = self.lock(name);
        let host = |error| RegistryError::Host { path: path.clone(), error };
        for _ in 0..TRIES {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
            let file = options.open(&path).map_err(host)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) if is_at(&lock, &path) => {
                    remove(&socket).map_err(host)?;
                    return Ok(Claim { name: name.clone(), socket, path, _lock: lock });
                }
                // Its file was removed meanwhile: there is another one, or none.
                Ok(_) => {}
                // A machine has it, or somebody looks at it just now.
                Err((_, Errno::EWOULDBLOCK)) => std::thread::sleep(BETWEEN),
                Err((_, error)) => return Err(host(error.into())),
            }
        }
        Err(RegistryError::InUse(name.clone()))
    }

    /// Takes a name by chance that nobody has.
    ///
    /// # Errors
    /// As [`Registry::claim`].
    pub fn claim_any(&self) -> Result<Claim, RegistryError> {
        let name = Name::by_chance();
        let numbered = (2..).map(|number| name.numbered(number));
        for name in std::iter::once(name.clone()).chain(numbered) {
            if self.is_alive(&name) {
                continue;
            }
            match self.claim(&name) {
                Err(RegistryError::InUse(_)) => {}
                other => return other,
            }
        }
        unreachable!("there are more numbers than files")
    }

    /// Does a machine of this name run?
    pub fn is_alive(&self, name: &Name) -> bool {
        File::open(self.lock(name)).is_ok_and(|file| {
            matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
        })
    }

    /// The names of the machines that run, sorted. What dead ones left is removed.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn names(&self) -> Result<Vec<Name>, RegistryError> {
        let host = |error| RegistryError::Host { path: self.directory.clone(), error };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(host)? {
            let file = entry.map_err(host)?.file_name();
            let stem = file.to_str().and_then(|file| file.strip_suffix(".lock"));
            let Some(name) = stem.and_then(|stem| stem.parse::<Name>().ok()) else { continue };
            if self.is_alive(&name) {
                names.push(name);
            } else {
                self.sweep(&name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes what a dead machine left, unless its name has been taken meanwhile.
    fn sweep(&self, name: &Name) {
        let path = self.lock(name);
        let Ok(file) = File::open(&path) else { return };
        if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            && is_at(&lock, &path)
        {
            drop(Claim { name: name.clone(), socket: self.socket(name), path, _lock: lock });
        }
    }
}

/// A name that is taken for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    name: Name,
    socket: PathBuf,
    path: PathBuf,
    _lock: Flock<File>,
}

impl Claim {
    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where to listen.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for path in [&self.socket, &self.path] {
            if let Err(error) = remove(path) {
                tracing::warn!(%error, path = %path.display(), "a file of the machine's is left");
            }
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Is this still the file of that path?
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn registry() -> (tempfile::TempDir, Registry) {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let registry = Registry::below(root.path()).unwrap();
        (root, registry)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_taken_once_and_free_again() {
        let (_root, registry) = registry();
        let claim = registry.claim(&name("blue")).unwrap();
        let again = registry.claim(&name("blue")).unwrap_err();
        assert!(again.to_string().contains("`blue` is running already"), "{again}");
        assert!(registry.is_alive(&name("blue")) && !registry.is_alive(&name("red")));
        let other = registry.claim_any().unwrap();
        assert_eq!(registry.names().unwrap().len(), 2);
        drop((claim, other));
        assert_eq!(registry.names().unwrap(), []);
        registry.claim(&name("blue")).unwrap();
        assert_eq!(fs::read_dir(&registry.directory).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn what_a_dead_machine_left_is_swept() {
        let (_root, registry) = registry();
        for dead in ["blue", "red"] {
            fs::write(registry.lock(&name(dead)), "").unwrap();
            fs::write(registry.socket(&name(dead)), "").unwrap();
        }
        let claim = registry.claim(&name("blue")).unwrap();
        assert!(!claim.socket().exists());
        assert_eq!(registry.names().unwrap(), [name("blue")]);
        assert!(!registry.socket(&name("red")).exists() && !registry.lock(&name("red")).exists());
    }

    #[test]
    fn many_at_once_and_one_has_it() {
        let (_root, registry) = registry();
        let (name, has) = (name("blue"), std::sync::atomic::AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _ = registry.names().unwrap();
                        if let Ok(_claim) = registry.claim(&name) {
                            use std::sync::atomic::Ordering::SeqCst;
                            assert_eq!(has.fetch_add(1, SeqCst), 0);
                            has.fetch_sub(1, SeqCst);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn what_others_can_enter_is_refused() {
        let (root, registry) = registry();
        fs::set_permissions(&registry.directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Registry::below(root.path()), Err(RegistryError::Private(PrivateError::Open(_)))));
        let long = root.path().join("x".repeat(90));
        let registry = Registry::below(&long).unwrap();
        assert!(matches!(registry.claim(&name("blue")), Err(RegistryError::Long(_))));
    }
}
