//! Installs a distribution on a disk: the whole of it, with its own kernel and init.
//!
//! ```text
//!  host's apt ─► Sources ─► packages ─► Tree (a tar archive) ──┐ /dev/vdb
//!                              │ kernel, busybox               ▼
//!                              └───► installer's RAM disk ─► virtual machine ─► disk ─► store
//!                                                              ▲ /dev/vda
//!                                     Disk (partition table) ──┘
//! ```
//!
//! The installation happens inside a virtual machine of Ringfence's own. A package's scripts run as root, make users and devices, and
//! expect to be in the system they belong to. On the host that takes root's rights or user namespaces, which many
//! hosts do not give; in a guest it takes nothing, and a package gone wrong harms nobody. Whatever the host
//! does is to fetch packages and to write two files. So it needs no tools but apt either: even the file system is made by
//! the new system's own `mkfs`.
//!
//! This crate runs no machines. Who calls it brings an [`Installer`].
//!
//! # Where to start reading
//!
//! [`Store::build`] is the order of things; `tree` what the guest gets; `install.sh` and `configure.sh` what it does;
//! `settings` what of the result is ours.

mod boot;
mod collect;
mod follow;
mod settings;
mod sources;
mod tree;

use std::path::Path;

use crate::{Arch, Digest, Error, Manifest, Progress, Result, Store};

/// What to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The image's name; also the guest's host name.
    pub name: String,
    /// The suite's code name; the host's own unless given.
    pub suite: Option<String>,
    /// Packages beyond those that every system has.
    pub packages: Vec<String>,
    /// The disk's size, in bytes.
    pub size: u64,
}

impl Build {
    /// The image that is built when it is first run.
    pub const DEFAULT: &'static str = "debian-full";

    /// The size of a disk where nobody says another, in bytes. It takes space as it is written.
    pub const SIZE: u64 = 4 << 30;

    /// The smallest disk that there is room on, in bytes.
    pub const SMALLEST: u64 = 1 << 30;

    /// The distribution as it comes.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), suite: None, packages: vec![], size: Self::SIZE }
    }
}

/// What every system has besides what is essential to the distribution.
const BASE: &[&str] = &[
    "apt",
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "init",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "less",
    "libpam-systemd",
    "nano",
    "openssh-server",
    "procps",
    "sudo",
    "systemd-sysv",
    "udev",
    "zstd",
    KERNEL,
];

/// The kernel for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";

/// What not every release has: in some it is part of another package.
const WHERE_THERE_IS: &[&str] = &["systemd-resolved", "usr-is-merged"];

/// What the installer runs.
#[derive(Debug)]
pub struct Installation<'a> {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// Its RAM disk.
    pub initrd: Vec<u8>,
    /// Its command line.
    pub command_line: String,
    /// The first disk: the one to install on, a raw image.
    pub target: &'a Path,
    /// The second disk, which is only read: a raw image.
    pub media: &'a Path,
    /// How much memory the machine needs, in bytes.
    pub memory: u64,
}

/// Somebody who runs virtual machines.
pub trait Installer {
    /// Runs a machine until it is off. Each line of its console goes to `line`.
    ///
    /// # Errors
    /// Why there was no machine, or why it ended otherwise.
    fn run(&mut self, installation: Installation<'_>, line: &mut dyn FnMut(&str)) -> Result<(), String>;
}

impl Store {
    /// Installs a system, and makes it the image of its name. `agent` is as for [`Store::ensure`]; it becomes a service
    /// of the guest.
    ///
    /// # Errors
    /// What cannot be had, and what went wrong inside.
    pub fn build(
        &self,
        build: &Build,
        agent: &[u8],
        installer: &mut dyn Installer,
        progress: &mut dyn Progress,
    ) -> Result<Manifest> {
        check(build)?;
        if self.kept(&build.name)?.is_some() {
            return Err(Error::NameInUse { name: build.name.clone() });
        }
        let _lock = self.lock_pull()?;
        let collected = self.collect_packages(build, progress)?;
        self.install(build, &collected, agent, installer, progress)
    }
}

/// The digest of what is ours in an installed system.
fn ours(agent: &[u8]) -> Digest {
    let texts = [include_str!("install.sh"), include_str!("configure.sh"), &settings::texts()].concat();
    Digest::of(&[texts.as_bytes(), agent].concat())
}

/// Whether what is ours in the installed system `manifest` is of this version.
pub fn is_current(manifest: &Manifest, agent: &[u8]) -> bool {
    manifest.ours == ours(agent)
}

fn check(build: &Build) -> Result<()> {
    crate::manifest::check_name(&build.name)?;
    if crate::RECIPES.iter().any(|recipe| recipe.name == build.name) {
        return Err(Error::NameTaken { name: build.name.clone() });
    }
    if let Some(suite) = &build.suite
        && !suite.bytes().all(|letter| letter.is_ascii_lowercase())
    {
        return Err(Error::BadSuite { suite: suite.clone() });
    }
    if build.size < Build::SMALLEST || !build.size.is_multiple_of(1 << 20) {
        return Err(Error::BadSize { size: build.size });
    }
    Ok(())
}

/// Images are built for this architecture.
const ARCH: Arch = Arch::Amd64;
