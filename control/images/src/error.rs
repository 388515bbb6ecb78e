//! What can go wrong between an image's name and its bytes.

use std::io;
use std::path::{Path, PathBuf};

use crate::{cpio, deb, initramfs};

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each message says what happened and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither `XDG_CACHE_HOME` nor `HOME` names a directory.
    #[error("no place for the image store: set HOME or XDG_CACHE_HOME to an absolute path")]
    NoCacheDir,

    /// The host has no apt.
    #[error(
        "cannot find `{program}` on this host, and images are fetched through it: run on Debian \
         or a derivative, or boot a kernel of your own with --kernel"
    )]
    NoApt {
        /// The program that is missing.
        program: PathBuf,
    },

    /// apt could not reach its servers.
    #[error(
        "apt cannot reach the distribution's servers ({detail}): check the network (and \
         http_proxy, if you use one), then try again; what was downloaded so far is kept"
    )]
    NoNetwork {
        /// apt's own first complaint.
        detail: String,
    },

    /// The host's apt sources offer no such package.
    #[error(
        "the host's apt sources offer no package `{package}` for {arch}: install \
         `debian-archive-keyring`, and it will come from Debian 12"
    )]
    PackageNotFound {
        /// The package's name.
        package: String,
        /// Debian's name for the architecture it was looked for in.
        arch: String,
    },

    /// The disk is full.
    #[error(
        "no space left for {}: free some, or put the store elsewhere with XDG_CACHE_HOME",
        path.display()
    )]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },

    /// apt failed for a reason of its own.
    #[error("`{command}` failed: {detail}")]
    Apt {
        /// The command, without its options.
        command: String,
        /// What it wrote to standard error.
        detail: String,
    },

    /// apt answered with something that cannot be understood.
    #[error("`{command}` answered with something unexpected: {detail}")]
    AptAnswer {
        /// The command, without its options.
        command: String,
        /// What was missing from the answer.
        detail: String,
    },

    /// A downloaded file is not what the package lists promise.
    #[error(
        "the download of {package} is not what the distribution's package lists promise; \
         it was discarded: try again"
    )]
    WrongDownload {
        /// The package's name.
        package: String,
    },

    /// The system refused an operation on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// No image can have that name.
    #[error(
        "`{name}` cannot be an image's name: use lower-case letters, digits and any of `.+_-`, \
         at most 64, and begin with a letter or digit"
    )]
    BadName {
        /// The name.
        name: String,
    },

    /// A name that Ringfence has given away itself.
    #[error("`{name}` is an image that is fetched, not built: build yours under another name")]
    NameTaken {
        /// The name.
        name: String,
    },

    /// A name of something else.
    #[error("`{name}` is there already: take another name, or `ringfence image rm {name}` first")]
    NameInUse {
        /// The name.
        name: String,
    },

    /// Something that runs cannot be removed.
    #[error("`{name}` is running: stop it first")]
    Running {
        /// Its name.
        name: String,
    },

    /// No suite can have that name.
    #[error("`{suite}` is no suite's code name: write `bookworm`, `trixie` and the like")]
    BadSuite {
        /// The name.
        suite: String,
    },

    /// No disk can have that size.
    #[error("a disk of {size} bytes is not possible: give it 1G at least, in whole MiB")]
    BadSize {
        /// The size, in bytes.
        size: u64,
    },

    /// The host cannot tell the distribution's packages from others.
    #[error(
        "the host does not have Debian's public keys ({}): install `debian-archive-keyring`",
        path.display()
    )]
    NoKeys {
        /// Where they would be.
        path: PathBuf,
    },

    /// An installation that came to no good end.
    #[error("`{image}` could not be installed: {detail}")]
    Installation {
        /// The image's name.
        image: String,
        /// What went wrong.
        detail: String,
    },

    /// No recipe makes such an image.
    #[error("there is no image `{name}`; there are: {known}")]
    NoSuchImage {
        /// The name.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },

    /// The image is not in the store.
    #[error("image `{name}` is not here yet: run `ringfence image pull {name}`")]
    NotPulled {
        /// The image's name.
        name: String,
    },

    /// A file of the store is missing or is not what it was.
    #[error(
        "image `{image}` is damaged ({} {what}): run `ringfence image pull {image}` again",
        path.display()
    )]
    Damaged {
        /// The image's name.
        image: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },

    /// A package holds no file of the sort the recipe needs.
    #[error("package {package} holds no {file}: this release of the distribution is not known to Ringfence")]
    NotInPackage {
        /// The package's name.
        package: String,
        /// What was looked for.
        file: &'static str,
    },

    /// A package cannot be unpacked.
    #[error("cannot unpack package {package}: {source}")]
    Package {
        /// The package's name.
        package: String,
        /// What is wrong with it.
        source: deb::Error,
    },

    /// A file that should be a kernel is none.
    #[error("{what} is not {expected}")]
    NotAKernel {
        /// Where the bytes come from.
        what: String,
        /// What they should have been.
        expected: &'static str,
    },

    /// The bytes given as the guest's agent cannot be its `/init`.
    #[error("the guest agent is not a static x86-64 ELF executable ({what}): build Ringfence again")]
    NotAnAgent {
        /// What is wrong with it.
        what: &'static str,
    },

    /// A busybox whose applets cannot be told.
    #[error("cannot tell the applets of the busybox in {package}: this version is not known to Ringfence")]
    NoApplets {
        /// The package's name.
        package: String,
    },

    /// An initial RAM disk that cannot be composed.
    #[error(transparent)]
    Initramfs(#[from] initramfs::Error),

    /// An initial RAM disk that cannot be read.
    #[error(transparent)]
    Cpio(#[from] cpio::Error),
}

impl Error {
    /// An error of the system about `path`; a full disk gets its own variant.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { action, path, source },
        }
    }
}
