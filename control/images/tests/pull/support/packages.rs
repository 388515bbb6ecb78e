//! Small Debian packages, made in memory.

use std::fmt::Write as _;
use std::io::Write as _;

use ringfence_images::Digest;

/// A package: `Package` field, `Depends` field, the files in it.
pub struct Package {
    pub name: &'static str,
    pub depends: &'static str,
    pub files: Vec<(&'static str, Vec<u8>)>,
}

impl Package {
    /// The package's file.
    pub fn deb(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, &bytes[..]).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), Default::default()).unwrap();
        xz.write_all(&tar).unwrap();
        let data = xz.finish().unwrap();
        let mut deb = b"!<arch>\n".to_vec();
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("data.tar.xz", &data)] {
            let size = bytes.len();
            writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100644).unwrap();
            deb.extend(bytes);
            deb.resize(deb.len().next_multiple_of(2), b'\n');
        }
        deb
    }

    /// The path of the package's file on the mirror: no `+`, which apt would escape.
    pub fn path(&self) -> String {
        format!("/{}_1.0_amd64.deb", self.name.trim_end_matches('+'))
    }

    /// The package's paragraph in a package list.
    pub fn paragraph(&self) -> String {
        let deb = self.deb();
        let mut out = format!("Package: {}\nVersion: 1.0\nArchitecture: amd64\n", self.name);
        if !self.depends.is_empty() {
            writeln!(out, "Depends: {}", self.depends).unwrap();
        }
        let (size, sum) = (deb.len(), Digest::of(&deb).hex());
        writeln!(out, "Filename: .{}\nSize: {size}\nSHA256: {sum}\n", self.path()).unwrap();
        out
    }
}

/// The least that passes as a bzImage, and then some that does not compress well.
pub fn bzimage() -> Vec<u8> {
    let mut seed = 1u32;
    let mut bytes: Vec<u8> = (0..200_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes
}

/// Enough of a busybox to tell its applets.
pub const BUSYBOX: &[u8] = b"\x7fELF\0[\0[[\0busybox\0ls\0sh\0\0";

/// What the recipes `debian` and `memtest86+` need, by the names Debian has for it.
pub fn debian() -> Vec<Package> {
    vec![
        Package {
            name: "linux-image-cloud-amd64",
            depends: "linux-base (>= 1), linux-image-6.1.0-9-cloud-amd64 (= 1.0)",
            files: vec![],
        },
        Package {
            name: "linux-image-6.1.0-9-cloud-amd64-unsigned",
            depends: "kmod",
            files: vec![
                ("./boot/config-6.1.0-9", vec![]),
                ("./boot/vmlinuz-6.1.0-9", bzimage()),
                ("./lib/modules/6.1.0-9/kernel/drivers/block/virtio_blk.ko", b"\x7fELF".to_vec()),
            ],
        },
        Package { name: "busybox-static", depends: "", files: vec![("./usr/bin/busybox", BUSYBOX.to_vec())] },
        Package {
            name: "base-files",
            depends: "",
            files: vec![("./usr/lib/os-release", b"ID=debian\n".to_vec())],
        },
        Package { name: "memtest86+", depends: "", files: vec![("./boot/memtest86+x64.bin", bzimage())] },
    ]
}
