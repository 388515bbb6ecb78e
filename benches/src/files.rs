//! What is run: one kernel, one initial RAM disk, one benchmark program, for all.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use images::{Initramfs, Recipe, Silent, Store};

/// Process 1 of the guests. The kernel hands on those words of its command line that it does not know as variables: which workloads
/// to run, and with which options. Without, there is a shell.
const INIT: &str = r#"#!/bin/sh
export PATH=/bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
echo 1 >/proc/sys/kernel/printk  # marks are whole lines
[ "$WORKLOADS" ] || exec setsid -c sh
echo @up
sleep 0.5
for name in $WORKLOADS; do
    bench $name $OPTIONS --marks || echo "@failed $name"
done
echo @done
sleep 0.5
poweroff -f
"#;

/// The files, in a folder.
pub struct Files {
    /// Debian's kernel for virtual machines.
    pub kernel: PathBuf,
    /// An initial RAM disk with busybox, the benchmark program, and `/measure` to be process 1.
    pub initrd: PathBuf,
    /// The benchmark program.
    pub bench: PathBuf,
    /// The same busybox as the guests'.
    pub busybox: PathBuf,
}

impl Files {
    /// Writes them.
    pub fn prepare(folder: &Path) -> Result<Self> {
        let store = Store::open_default()?.telling(|text| eprintln!("{text}"));
        let image = store.ensure(Recipe::of("debian")?, embedded::AGENT, &mut Silent)?;
        let initrd = image.initrd.context("the image `debian` has no initial RAM disk")?;
        let mut root = Initramfs::read(&initrd)?;
        root.file("measure", 0o755, INIT.into())?;
        root.file("bin/bench", 0o755, embedded::BENCH.to_vec())?;
        let busybox = root.get("bin/busybox").context("the image has no busybox")?;
        let put = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
            Ok(path)
        };
        Ok(Self {
            kernel: put("kernel", &image.kernel)?,
            initrd: put("initrd", &root.newc())?,
            bench: put("bench", embedded::BENCH)?,
            busybox: put("busybox", busybox)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_1_is_shell() {
        let status = std::process::Command::new("sh").args(["-n", "-c", INIT]).status();
        assert!(status.unwrap().success());
    }
}
