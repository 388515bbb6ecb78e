//! Initial RAM disks that a user gives: read, and written again.

use images::Initramfs;

use super::Target;

/// The target.
pub const TARGET: Target =
    Target { name: "cpio", about: "newc archives, read and written again", longest: 2048, run, seeds };

fn run(input: &[u8]) {
    if let Ok(root) = Initramfs::read(input) {
        let written = root.newc();
        let again = Initramfs::read(&written).expect("we read what we wrote");
        assert_eq!(again.newc(), written);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut root = Initramfs::new();
    let added = root
        .file("/init", 0o755, b"#!/bin/sh\nexec sh\n".to_vec())
        .and_then(|()| root.symlink("bin/sh", "busybox"))
        .and_then(|()| root.char_device("dev/console", 0o600, 5, 1))
        .and_then(|()| root.dir("proc", 0o555));
    added.expect("a plain root file system");
    vec![root.newc()]
}
