//! The kernel modules that a guest needs to reach its devices. Debian builds the drivers of virtio as modules; its
//! own initial RAM disks carry them, and so do ours.
//!
//! They lie in [`DIR`] under names that sort in the order in which they must be loaded. A module that the package
//! does not have is built into that kernel, or it has no such driver; either is well.

use std::io::Read;

use lzma_rust2::XzReader;

use crate::deb::{self, File, MAX_XZ_MEMORY};
use crate::{Initramfs, Result, initramfs};

/// Where they are in the guest.
pub(crate) const DIR: &str = "lib/modules/ringfence";

/// The drivers of virtio, each after what it needs.
pub(crate) const VIRTIO: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio-rng",
    "virtio_console",
    "virtio_balloon",
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vmw_vsock_virtio_transport",
    "fuse",
    "virtiofs",
];

/// The largest module that is taken, unpacked.
const MAX_MODULE: u64 = 16 << 20;

/// A module's name and whether it is compressed, by its path in the package. In merged-/usr releases packages
/// have their files below usr/.
fn parse(path: &str) -> Option<(&str, bool)> {
    let path = path.strip_prefix("usr/").unwrap_or(path).strip_prefix("lib/modules/")?;
    let (_, file) = path.rsplit_once('/')?;
    match file.strip_suffix(".ko") {
        Some(name) => Some((name, false)),
        None => Some((file.strip_suffix(".ko.xz")?, true)),
    }
}

/// Is this path one of these modules?
pub(crate) fn wanted(path: &str, names: &[&str]) -> bool {
    parse(path).is_some_and(|(name, _)| names.contains(&name))
}

/// Adds modules, which came out of a package in any order.
pub(crate) fn add(root: &mut Initramfs, files: Vec<File>, names: &[&str]) -> Result<(), deb::Error> {
    for File { path, bytes } in files {
        let Some((name, compressed)) = parse(&path) else { continue };
        let Some(order) = names.iter().position(|wanted| *wanted == name) else { continue };
        let bytes = if compressed { unpack(&bytes)? } else { bytes };
        let added = root.file(&format!("{DIR}/{order:02}-{name}.ko"), 0o644, bytes);
        added.map_err(|_: initramfs::Error| deb::Error::TooLarge("the initial RAM disk"))?;
    }
    Ok(())
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, deb::Error> {
    let mut out = Vec::new();
    XzReader::new_mem_limit(bytes, true, MAX_XZ_MEMORY).take(MAX_MODULE + 1).read_to_end(&mut out)?;
    if out.len() as u64 > MAX_MODULE { Err(deb::Error::TooLarge("16 MiB in a module")) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn modules_are_found_wherever_they_lie_and_sorted_by_need() {
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), Default::default()).unwrap();
        xz.write_all(b"blk").unwrap();
        let file = |path: &str, bytes: &[u8]| File { path: path.to_owned(), bytes: bytes.to_vec() };
        let files = vec![
            file("usr/lib/modules/6.12/kernel/drivers/block/virtio_blk.ko.xz", &xz.finish().unwrap()),
            file("lib/modules/6.1/kernel/drivers/virtio/virtio.ko", b"core"),
        ];
        assert!(files.iter().all(|file| wanted(&file.path, VIRTIO)));
        for other in ["lib/modules/6.1/kernel/virtio_mem.ko", "lib/virtio.ko", "lib/modules/6.1/modules.dep"]
        {
            assert!(!wanted(other, VIRTIO), "{other}");
        }
        let mut root = Initramfs::new();
        add(&mut root, files, VIRTIO).unwrap();
        assert_eq!(root.get("lib/modules/ringfence/01-virtio.ko").unwrap(), b"core");
        assert_eq!(root.get("lib/modules/ringfence/05-virtio_blk.ko").unwrap(), b"blk");
        assert!(add(&mut root, vec![file("lib/modules/x/virtio.ko.xz", b"no xz")], VIRTIO).is_err());
    }
}
