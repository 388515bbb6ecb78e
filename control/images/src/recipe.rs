//! The table of images.

use crate::apt::Arch;
use crate::modules::VIRTIO;
use crate::{Error, Kind, Result, Userspace};

/// How to make an image.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The image's name.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// The architecture of its packages.
    pub arch: Arch,
    /// How its kernel is booted.
    pub kind: Kind,
    /// What runs on it.
    pub userspace: Userspace,
    /// The kernel's command line, unless the user gives another.
    pub command_line: &'static str,
    /// The package that holds the kernel, or depends on the one that does.
    pub kernel_package: &'static str,
    /// The modules of the kernel's package that the guest loads, in this order.
    pub(crate) modules: &'static [&'static str],
    /// What the path of the kernel's file in the package begins with.
    pub(crate) kernel_path: &'static str,
}

/// The serial port is the console. A panic ends the virtual machine at once
/// (`panic=-1`: reboot without a wait) instead of leaving it to spin until a
/// time-out. Nothing else: the kernel is to find its way on its own.
const LINUX: &str = "console=ttyS0 panic=-1";

/// All recipes.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "debian",
        description: "Debian's kernel for virtual machines, and a busybox shell",
        arch: Arch::Amd64,
        kind: Kind::Linux,
        userspace: Userspace::Agent,
        command_line: LINUX,
        kernel_package: "linux-image-cloud-amd64",
        modules: VIRTIO,
        kernel_path: "boot/vmlinuz-",
    },
    Recipe {
        name: "debian-generic",
        description: "Debian's kernel for real machines, and a busybox shell",
        arch: Arch::Amd64,
        kind: Kind::Linux,
        userspace: Userspace::Agent,
        command_line: LINUX,
        kernel_package: "linux-image-amd64",
        modules: VIRTIO,
        kernel_path: "boot/vmlinuz-",
    },
    Recipe {
        name: "debian-686-pae",
        description: "Debian's 32-bit kernel with PAE, and a busybox shell",
        arch: Arch::I386,
        kind: Kind::Linux,
        userspace: Userspace::Shell,
        command_line: LINUX,
        kernel_package: "linux-image-686-pae",
        modules: VIRTIO,
        kernel_path: "boot/vmlinuz-",
    },
    Recipe {
        name: "gnumach",
        description: "GNU Mach 1.8, the microkernel of the GNU system, on its own",
        // The 32-bit build: the amd64 package of that release is an ELF64 file,
        // which multiboot does not define.
        arch: Arch::I386,
        kind: Kind::Multiboot,
        userspace: Userspace::None,
        // Mach looks for " console=com0": a word before it is needed, and by
        // custom that is the kernel's own name.
        command_line: "gnumach console=com0",
        kernel_package: "gnumach-image-1.8-486",
        modules: &[],
        kernel_path: "boot/gnumach-",
    },
    Recipe {
        name: "memtest86+",
        description: "Memtest86+, a stand-alone memory tester, on the serial console",
        arch: Arch::Amd64,
        kind: Kind::Linux,
        userspace: Userspace::None,
        // Without the rate it would keep what the firmware had set; there was none.
        command_line: "console=ttyS0,115200",
        kernel_package: "memtest86+",
        modules: &[],
        kernel_path: "boot/memtest86+x64.bin",
    },
];

impl Recipe {
    /// The recipe for the image `name`.
    pub fn of(name: &str) -> Result<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.name == name).ok_or_else(|| {
            let names: Vec<_> = RECIPES.iter().map(|recipe| recipe.name).collect();
            Error::NoSuchImage { name: name.to_owned(), known: names.join(", ") }
        })
    }

    /// Whether the kernel's package is only the name of the current one.
    pub(crate) fn is_meta(&self) -> bool {
        self.kernel_package.starts_with("linux-image-")
    }

    /// The packages that the user space is made from, if there is one: the shell
    /// and its tools, and the distribution's name.
    pub(crate) fn userspace_packages(&self) -> &'static [&'static str] {
        match self.userspace {
            Userspace::Agent | Userspace::Shell => &["busybox-static", "base-files"],
            Userspace::System | Userspace::None => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::check_name;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_fit_the_store() {
        let names: BTreeSet<_> = RECIPES.iter().map(|recipe| recipe.name).collect();
        assert_eq!(names.len(), RECIPES.len());
        for recipe in RECIPES {
            check_name(recipe.name).unwrap();
            assert_eq!(Recipe::of(recipe.name).unwrap().name, recipe.name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let message = Recipe::of("debain").unwrap_err().to_string();
        assert!(message.contains("`debain`") && message.contains("debian, debian-generic"), "{message}");
    }
}
