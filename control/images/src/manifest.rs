//! What the store knows about an image: `images/<name>.json`.

use serde::{Deserialize, Serialize};

use crate::{Blob, Digest, Disk, Error, Result};

/// The version of the manifest's form that this code writes and reads.
pub(crate) const SCHEMA: u32 = 1;

/// By which protocol an image's kernel is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The Linux boot protocol (Documentation/arch/x86/boot.rst): a bzImage.
    Linux,
    /// Multiboot 1: an ELF file with the header in its first 8 KiB.
    Multiboot,
}

/// What runs in the guest once the kernel is up, and so how to give it a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Userspace {
    /// Ringfence's guest agent is `/init`: commands go through its protocol.
    Agent,
    /// A shell script is `/init`: a command is a word on the kernel's command
    /// line (see [`crate::exec`]), its output is on the console.
    Shell,
    /// A whole system on a disk, with its own init and with Ringfence's agent as a service: commands go through
    /// the agent's protocol, logins through the console.
    System,
    /// None: the kernel is all there is.
    None,
}

/// What a system that was installed on a disk was asked to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The suite's code name.
    pub suite: String,
    /// The packages it has beyond those that every system has.
    pub packages: Vec<String>,
}

/// A distribution package that an image was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, in the distribution's form.
    pub version: String,
    /// The distribution's name for its architecture: `amd64`, `i386` or `all`.
    pub arch: String,
    /// The package itself, kept so that it is fetched once.
    pub deb: Blob,
}

/// An image as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub schema: u32,
    /// The image's name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// How its kernel is booted.
    pub kind: Kind,
    /// What runs on it.
    pub userspace: Userspace,
    /// The kernel.
    pub kernel: Blob,
    /// The initial RAM disk, if there is one.
    pub initrd: Option<Blob>,
    /// The kernel's command line, unless the user gives another.
    pub command_line: String,
    /// What it was made from; the first one holds the kernel.
    pub packages: Vec<Package>,
    /// The disk, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// What it was asked to be, if it was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<Built>,
    /// The digest of what Ringfence itself put in (agent, scripts, settings):
    /// another version of Ringfence finds a different one and makes the image anew.
    pub ours: Digest,
    /// When it was made, in seconds since 1970-01-01 00:00 UTC.
    pub created: u64,
}

impl Manifest {
    /// Everything in the store that this image needs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let debs = self.packages.iter().map(|p| &p.deb);
        [&self.kernel].into_iter().chain(&self.initrd).chain(debs)
    }

    /// The bytes a boot reads at once: kernel and initial RAM disk.
    pub fn boot_size(&self) -> u64 {
        self.kernel.size + self.initrd.map_or(0, |i| i.size)
    }
}

/// Refuses what could not be a file's name, or not everywhere.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.len() <= 64
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|c| letter(c) || b".+_-".contains(&c));
    if good { Ok(()) } else { Err(Error::BadName { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["debian", "debian-686-pae", "memtest86+", "a", "0_.x"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", ".", "..", "../x", "a/b", "-rf", "+", "Debian", "é", "a b", "a\0", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
