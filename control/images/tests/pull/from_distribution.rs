//! The recipes against the distribution itself: needs apt and a network, and
//! fails without. What was fetched stays in the build directory, so that only
//! the first run takes long.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{fs, str};

use crate::support::mirror::Mirror;
use crate::support::{Downloads, agent};
use ringfence_images::{Arch, Image, Initramfs, Kind, RECIPES, Recipe, Store, Userspace, busybox};

fn store() -> Store {
    Store::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("store")).unwrap()
}

fn pull(store: &Store, recipe: &Recipe) -> (Image, Vec<String>) {
    let mut downloads = Downloads::default();
    let image = store.pull(recipe, &agent(0), &mut downloads);
    (image.unwrap_or_else(|e| panic!("{}: {e}", recipe.name)), downloads.0)
}

/// The version in a bzImage (Documentation/arch/x86/boot.rst, `kernel_version`).
fn version(kernel: &[u8]) -> &str {
    let at = 0x200 + usize::from(u16::from_le_bytes([kernel[0x20e], kernel[0x20f]]));
    let end = at + kernel[at..].iter().position(|byte| *byte == 0).unwrap();
    str::from_utf8(&kernel[at..end]).unwrap()
}

/// Whether a bzImage can be entered in 64-bit mode (`xloadflags`, XLF_KERNEL_64).
fn has_64_bit_entry(kernel: &[u8]) -> bool {
    kernel[0x236] & 1 != 0
}

fn check_userspace(image: &Image, init: &[u8]) {
    let root = Initramfs::read(image.initrd.as_deref().unwrap()).unwrap();
    assert!(root.get("init").unwrap().starts_with(init));
    let release = str::from_utf8(root.get("etc/os-release").unwrap()).unwrap();
    assert!(release.contains("NAME="), "{release}");
    let binary = root.get("bin/busybox").unwrap();
    let applets = busybox::applets(binary).unwrap();
    assert!(applets.len() > 100);
    for applet in ["sh", "mount", "awk", "sha256sum", "base64", "cttyhack", "setsid", "poweroff", "gzip"] {
        assert!(root.contains(&format!("bin/{applet}")), "{applet}");
    }
    // The 64-bit one can be asked.
    if image.manifest.userspace == Userspace::Agent {
        // It looks at its own name to tell which applet it is.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("busybox");
        fs::write(&file, binary).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let list = Command::new(&file).arg("--list").output().unwrap().stdout;
        assert_eq!(applets, str::from_utf8(&list).unwrap().lines().collect::<Vec<_>>());
    }
}

#[test]
fn every_recipe_makes_its_image() {
    let store = store();
    for recipe in RECIPES {
        let (image, _) = pull(&store, recipe);
        let kernel = &image.kernel;
        let manifest = &image.manifest;
        assert_eq!(manifest.packages[0].arch, recipe.arch.name());
        match recipe.name {
            "debian" => assert!(version(kernel).contains("-cloud-amd64 "), "{}", version(kernel)),
            "debian-generic" => {
                assert!(version(kernel).contains("-amd64 "), "{}", version(kernel));
                assert!(!version(kernel).contains("cloud"), "{}", version(kernel));
            }
            "debian-686-pae" => assert!(version(kernel).contains("-686-pae "), "{}", version(kernel)),
            "gnumach" => {
                // A 32-bit ELF file for the 386.
                assert!(kernel.starts_with(b"\x7fELF\x01") && kernel[18] == 3);
                assert!(kernel.windows(8).any(|window| window == b"GNU Mach"));
            }
            "memtest86+" => assert!(version(kernel).starts_with("Memtest86+"), "{}", version(kernel)),
            other => panic!("{other} is not tested"),
        }
        if recipe.kind == Kind::Linux {
            assert_eq!(has_64_bit_entry(kernel), recipe.arch == Arch::Amd64);
        }
        match recipe.userspace {
            Userspace::Agent => check_userspace(&image, &agent(0)),
            Userspace::Shell => check_userspace(&image, b"#!/bin/sh\n"),
            Userspace::System | Userspace::None => assert_eq!(image.initrd, None),
        }
        store.verify(recipe.name).unwrap();

        let (again, downloads) = pull(&store, recipe);
        assert_eq!(downloads, [""; 0], "nothing is fetched twice");
        assert!(again.kernel == image.kernel && again.initrd == image.initrd);
    }
}

#[test]
fn what_the_host_lacks_comes_from_debian() {
    let nothing = Mirror::of(&[]);
    let (image, _) = pull(&nothing.store_with_fallback(), Recipe::of("gnumach").unwrap());
    assert!(image.kernel.starts_with(b"\x7fELF\x01"));
}
