//! Item 23 of what a hostile image tries: loops, huge tables, names of other people's files, a format in disguise.

mod support;

use std::os::unix::fs::FileExt;
use std::path::Path;

use backend::block::{Backing, Disk, Error, Format, Options, Source, qcow2::Refused};
use support::*;
use virtio::back::Op;

const SIZE: u64 = 8 << 20;

fn open(source: &Source) -> Result<Disk, Error> {
    Disk::open(source, &Options::default())
}

fn patch(path: &Path, at: u64, bytes: &[u8]) {
    std::fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// A raw disk whose guest has written a qcow2 header that names a secret stays a raw disk.
#[test]
fn a_raw_disk_that_begins_like_qcow2_is_raw() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret".repeat(1000)).unwrap();
    let evil = folder.path().join("evil.qcow2");
    let name = secret.to_str().unwrap();
    qemu_img_ok(&["create", "-q", "-f", "qcow2", "-b", name, "-F", "raw", evil.to_str().unwrap()]);
    let header = std::fs::read(&evil).unwrap();
    let source = make(&folder.path().join("disk"), Format::Raw, SIZE, None);
    let mut rig = Rig::open(&source, &Options::default());
    let mut start = header[..512].to_vec();
    rig.write(0, &start);
    drop(rig);
    let mut rig = Rig::open(&source, &Options::default());
    assert!(rig.read(0, 1) == start);
    drop(rig);
    // Nor does it become one by being behind another.
    let front = make(&folder.path().join("front"), Format::Qcow2, SIZE, Some(("disk", Format::Raw)));
    let mut rig = Rig::open(&front, &Options::default());
    assert!(rig.read(0, 1) == start);
    // And as what it claims to be, it reaches nothing.
    start.truncate(0);
    let error = open(&Source::new(&evil, Format::Qcow2)).unwrap_err();
    assert!(matches!(error, Error::Backing { .. }) && error.to_string().contains("backing=PATH"), "{error}");
}

#[test]
fn the_user_may_name_any_image_behind_another() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let base = there.path().join("base");
    std::fs::write(&base, vec![7; SIZE as usize]).unwrap();
    let front = here.path().join("front");
    qemu_img_ok(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        base.to_str().unwrap(),
        "-F",
        "raw",
        front.to_str().unwrap(),
    ]);
    let source = Source::new(&front, Format::Qcow2);
    assert!(matches!(open(&source), Err(Error::Backing { .. })));
    let backing = Some(Backing { path: base, format: Format::Raw });
    let mut rig = Rig::open(&Source { backing, ..source }, &Options::default());
    assert!(rig.read(0, 2) == [7; 1024]);
}

#[test]
fn a_format_that_is_not_named_is_not_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let front = make(&folder.path().join("base"), Format::Raw, SIZE, None).path.with_file_name("front");
    qemu_img_ok(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", front.to_str().unwrap()]);
    // The extension for the format becomes one that nobody knows.
    let bytes = std::fs::read(&front).unwrap();
    let at = bytes.windows(4).position(|four| four == [0xe2, 0x79, 0x2a, 0xca]).unwrap();
    patch(&front, at as u64, &[0xe3]);
    let error = open(&Source::new(&front, Format::Qcow2)).unwrap_err();
    assert!(matches!(error, Error::Refused { reason: Refused::BackingFormat(_), .. }), "{error}");
}

#[test]
fn chains_end() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Behind itself.
    make(&at("a"), Format::Qcow2, SIZE, None);
    make(&at("b"), Format::Qcow2, SIZE, Some(("a", Format::Qcow2)));
    std::fs::remove_file(at("a")).unwrap();
    qemu_img_ok(&[
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "b",
        "-F",
        "qcow2",
        at("a").to_str().unwrap(),
        "8M",
    ]);
    for name in ["a", "b"] {
        let error = open(&Source::new(at(name), Format::Qcow2).read_only()).unwrap_err();
        assert!(matches!(error, Error::Chain { .. }), "{error}");
    }
    // One after the other, and one too many.
    make(&at("0"), Format::Raw, SIZE, None);
    let link = |n: usize| {
        let format = if n == 1 { "raw" } else { "qcow2" };
        let (behind, path) = ((n - 1).to_string(), at(&n.to_string()));
        qemu_img_ok(&[
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-b",
            &behind,
            "-F",
            format,
            path.to_str().unwrap(),
            "8M",
        ]);
        Source::new(path, Format::Qcow2)
    };
    for n in 1..16 {
        link(n);
    }
    assert!(open(&link(16)).is_ok());
    assert!(matches!(open(&link(17)), Err(Error::Chain { .. })));
}

#[test]
fn external_data_files_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let data = format!("data_file={}", folder.path().join("data").display());
    qemu_img_ok(&["create", "-q", "-f", "qcow2", "-o", &data, path.to_str().unwrap(), "8M"]);
    let error = open(&Source::new(&path, Format::Qcow2)).unwrap_err();
    assert!(matches!(error, Error::Refused { reason: Refused::ExternalData, .. }), "{error}");
}

#[test]
fn snapshots_are_kept_from_being_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let source = make(&folder.path().join("a"), Format::Qcow2, SIZE, None);
    qemu_img_ok(&["snapshot", "-c", "one", source.path.to_str().unwrap()]);
    let error = open(&source).unwrap_err();
    assert!(matches!(error, Error::Refused { reason: Refused::Snapshots, .. }), "{error}");
    let mut rig = Rig::open(&source.read_only(), &Options::default());
    assert!(rig.read(0, 8) == [0; 4096]);
}

/// Every entry of the L1 table names the same L2 table, and that one itself: reading comes to an end, and so does opening
/// for writing.
#[test]
fn a_looped_l1_table() {
    let folder = tempfile::tempdir().unwrap();
    let source = make(&folder.path().join("a"), Format::Qcow2, 2 << 30, None);
    let mut rig = Rig::open(&source, &Options::default());
    rig.write(0, &[1; 512]);
    drop(rig);
    let bytes = std::fs::read(&source.path).unwrap();
    let number = |at: u64| u64::from_be_bytes(bytes[at as usize..][..8].try_into().unwrap());
    let (l1, l2) = (number(40), number(number(40)) & 0x00ff_ffff_ffff_fe00);
    for n in 0..4 {
        patch(&source.path, l1 + n * 8, &(l2 | 1 << 63).to_be_bytes());
    }
    for n in 0..8192 {
        patch(&source.path, l2 + n * 8, &(l2 | 1 << 63).to_be_bytes());
    }
    let mut rig = Rig::open(&source.clone().read_only(), &Options::default());
    for at in (0..4 << 20).step_by(500_000) {
        rig.read(at, 256);
    }
    drop(rig);
    let mut rig = Rig::open(&source, &Options::default());
    // It writes over its own tables: its own loss. What matters is that each request ends.
    for n in 0..50 {
        let buffer = rig.buffer(1 << 20, 64 << 10);
        buffer.write(0, &[0xff; 64 << 10]);
        let _ = rig.request(Op::Write, n * 83_000, 128, buffer);
    }
}

/// An entry that names an offset of exabytes costs an error, and no space.
#[test]
fn offsets_that_no_disk_needs() {
    let folder = tempfile::tempdir().unwrap();
    let source = make(&folder.path().join("a"), Format::Qcow2, SIZE, None);
    let mut rig = Rig::open(&source, &Options::default());
    rig.write(0, &[1; 512]);
    drop(rig);
    let bytes = std::fs::read(&source.path).unwrap();
    let number = |at: u64| u64::from_be_bytes(bytes[at as usize..][..8].try_into().unwrap());
    let l2 = number(number(40)) & 0x00ff_ffff_ffff_fe00;
    patch(&source.path, l2, &(1u64 << 63 | 1 << 54).to_be_bytes());
    let mut rig = Rig::open(&source, &Options::default());
    let buffer = rig.buffer(1 << 20, 512);
    assert!(rig.request(Op::Write, 0, 1, buffer).is_err());
    assert!(rig.read(0, 1) == [0; 512], "beyond the end there is nothing");
    drop(rig);
    assert!(std::fs::metadata(&source.path).unwrap().len() < 1 << 20);
}

/// Clusters of one request are read side by side; one among them that claims to be compressed and is not fails the
/// request, and nothing is left of it: its buffer is not written any more, and the disk goes on.
#[test]
fn a_broken_cluster_fails_the_request_that_meets_it() {
    const CLUSTER: u64 = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let source = make(&folder.path().join("a"), Format::Qcow2, SIZE, None);
    let mut rig = Rig::open(&source, &Options::default());
    // The other way round, so that each is a read of its own.
    for cluster in (0..32).rev() {
        rig.write(cluster * CLUSTER / 512, &[cluster as u8 + 1; CLUSTER as usize]);
    }
    drop(rig);
    let bytes = std::fs::read(&source.path).unwrap();
    let number = |at: u64| u64::from_be_bytes(bytes[at as usize..][..8].try_into().unwrap());
    let l2 = number(number(40)) & 0x00ff_ffff_ffff_fe00;
    let entry = number(l2 + 20 * 8) & !(1 << 63) | 1 << 62;
    patch(&source.path, l2 + 20 * 8, &entry.to_be_bytes());
    for with_threads in ENGINES {
        let mut rig = Rig::open(&source.clone().read_only(), &threads(with_threads));
        for _ in 0..20 {
            let buffer = rig.buffer(0x1001, 32 * CLUSTER);
            assert!(rig.request(Op::Read, 0, 32 * CLUSTER / 512, buffer.clone()).is_err());
            buffer.clear(0, u64::MAX);
            for cluster in [0, 19, 21, 31] {
                assert!(rig.read(cluster * CLUSTER / 512, 128) == [cluster as u8 + 1; CLUSTER as usize]);
            }
            let mut rest = vec![1; 4 << 10];
            buffer.slice(2 * CLUSTER, 4 << 10).read(0, &mut rest);
            assert!(rest == [0; 4 << 10], "nobody writes there any more");
        }
    }
}
