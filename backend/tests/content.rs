//! What is written is what is read: random requests against a plain array, on every format, chain and engine, judged by
//! qemu-img in the end.

mod support;

use backend::block::{Format, Source};
use base::Buffer;
use fastrand::Rng;
use std::path::Path;
use support::*;
use virtio::back::{Block, Op};

/// The disk: several L2 tables' worth at the small clusters that qemu-img makes below.
const SIZE: u64 = 8 << 20;

/// A place on the disk: sectors, often at or near a cluster's edge.
fn place(rng: &mut Rng, most: u64) -> (u64, u64) {
    let sectors = SIZE / 512;
    let near = |rng: &mut Rng| match rng.u8(..4) {
        0 => rng.u64(..sectors),
        1 => rng.u64(..sectors / 128) * 128,
        2 => (rng.u64(..sectors / 128) * 128).saturating_sub(rng.u64(..3)),
        _ => sectors.saturating_sub(1 + rng.u64(..130)),
    };
    let at = near(rng);
    (at, rng.u64(1..=most).min(sectors - at))
}

/// Random requests, several at once where they do not overlap, and after each round all of it is compared.
fn exercise(rig: &mut Rig, model: &mut [u8], rng: &mut Rng, rounds: usize) {
    for _ in 0..rounds {
        let (at, count) = place(rng, 300);
        let range = at as usize * 512..(at + count) as usize * 512;
        match rng.u8(..10) {
            0..=4 => {
                let byte = rng.u8(1..);
                let bytes: Vec<u8> = (0..range.len()).map(|n| byte.wrapping_add((n / 512) as u8)).collect();
                model[range].copy_from_slice(&bytes);
                rig.write(at, &bytes);
            }
            5 | 6 => assert!(rig.read(at, count) == model[range], "sectors {at} to {}", at + count),
            7 => {
                model[range].fill(0);
                rig.zero(at, count, rng.bool());
            }
            8 => {
                // What is discarded may read as anything, so it is written right away.
                rig.discard(at, count);
                model[range].fill(7);
                rig.write(at, &vec![7; count as usize * 512]);
            }
            _ => rig.flush(),
        }
    }
    several_at_once(rig, model, rng);
    assert!(rig.is_silent());
    let whole = rig.read(0, SIZE / 512);
    assert!(whole == model);
}

/// 64 writes and reads under way together, each in its own part of the disk.
fn several_at_once(rig: &mut Rig, model: &mut [u8], rng: &mut Rng) {
    const PARTS: u64 = 64;
    let part = SIZE / 512 / PARTS;
    let mut reads = Vec::new();
    let mut left = PARTS;
    for n in 0..PARTS {
        let (at, count) = (n * part + rng.u64(..part / 2), rng.u64(1..part / 2));
        let range = at as usize * 512..(at + count) as usize * 512;
        let buffer = rig.buffer((1 << 20) + n * (300 << 10), count * 512);
        if rng.bool() {
            model[range.clone()].fill(n as u8);
            buffer.write(0, &model[range]);
            rig.submit(Op::Write, at, count, buffer);
        } else {
            let tag = rig.submit(Op::Read, at, count, buffer.clone());
            reads.push((tag, range, buffer));
        }
    }
    rig.disk.start();
    while left > 0 {
        let done = rig.completions();
        assert!(done.iter().all(|done| done.result.is_ok()), "{done:?}");
        left -= done.len() as u64;
    }
    for (_, range, buffer) in reads {
        let mut bytes = vec![0; range.len()];
        buffer.read(0, &mut bytes);
        assert!(bytes == model[range.clone()], "{range:?}");
    }
}

/// Exercises an image twice, closed and opened again in between, and lets qemu-img judge.
fn story(source: &Source, mut model: Vec<u8>, seed: u64, rounds: usize) {
    for (round, with_threads) in ENGINES.into_iter().enumerate() {
        let mut rng = Rng::with_seed(seed + round as u64);
        let mut rig = Rig::open(source, &threads(with_threads));
        if with_threads {
            assert_eq!(rig.disk.engine(), "threads");
        }
        exercise(&mut rig, &mut model, &mut rng, rounds);
        drop(rig);
        if source.format == Format::Qcow2 {
            check(&source.path);
        }
        same(&source.path, source.format, &model);
    }
}

fn zeroes() -> Vec<u8> {
    vec![0; SIZE as usize]
}

#[test]
fn raw() {
    let folder = tempfile::tempdir().unwrap();
    story(&make(&folder.path().join("a.raw"), Format::Raw, SIZE, None), zeroes(), 1, 400);
}

#[test]
fn qcow2() {
    let folder = tempfile::tempdir().unwrap();
    story(&make(&folder.path().join("a.qcow2"), Format::Qcow2, SIZE, None), zeroes(), 2, 400);
}

/// Images as qemu-img makes them: small and large clusters, narrow and wide counts, preallocated, version 2.
#[test]
fn images_of_qemu() {
    for (n, options) in [
        "cluster_size=512",
        "cluster_size=4k,refcount_bits=1",
        "cluster_size=2M,refcount_bits=64",
        "preallocation=metadata",
        "preallocation=full,refcount_bits=8",
        "lazy_refcounts=on",
        "compat=0.10",
    ]
    .into_iter()
    .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.qcow2");
        qemu_img_ok(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            options,
            path.to_str().unwrap(),
            &SIZE.to_string(),
        ]);
        story(&Source::new(&path, Format::Qcow2), zeroes(), 100 + n as u64, 150);
    }
}

fn pattern(rng: &mut Rng, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    for cluster in bytes.chunks_mut(1 << 16) {
        if rng.bool() {
            cluster.fill(rng.u8(1..));
        }
    }
    bytes
}

/// qemu-img compresses; we read it, and write over it.
#[test]
fn compressed_clusters() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, path) = (folder.path().join("a.raw"), folder.path().join("a.qcow2"));
    let model = pattern(&mut Rng::with_seed(5), SIZE);
    std::fs::write(&raw, &model).unwrap();
    let (from, to) = (raw.to_str().unwrap(), path.to_str().unwrap());
    qemu_img_ok(&["convert", "-c", "-f", "raw", "-O", "qcow2", from, to]);
    story(&Source::new(&path, Format::Qcow2), model, 6, 200);
}

/// Three images behind one another, the first of them raw and shorter than the disk; what is behind stays as it is.
#[test]
fn chains() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut model = pattern(&mut Rng::with_seed(8), SIZE - (3 << 20) - 512);
    std::fs::write(at("base.raw"), &model).unwrap();
    let middle = make(&at("middle.qcow2"), Format::Qcow2, SIZE, Some(("base.raw", Format::Raw)));
    model.resize(SIZE as usize, 0);
    let mut rig = Rig::open(&middle, &threads(false));
    exercise(&mut rig, &mut model, &mut Rng::with_seed(9), 50);
    drop(rig);
    let front = make(&at("front.qcow2"), Format::Qcow2, SIZE, Some(("middle.qcow2", Format::Qcow2)));
    let before = [at("base.raw"), at("middle.qcow2")].map(|path| std::fs::read(path).unwrap());
    story(&front, model, 10, 200);
    assert!(before == [at("base.raw"), at("middle.qcow2")].map(|path| std::fs::read(path).unwrap()));
}

/// A chain that qemu-img made.
#[test]
fn chains_of_qemu() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = pattern(&mut Rng::with_seed(11), SIZE);
    std::fs::write(at("base.raw"), &model).unwrap();
    let front = at("front.qcow2");
    qemu_img_ok(&["create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", front.to_str().unwrap()]);
    story(&Source::new(&front, Format::Qcow2), model, 12, 200);
}

#[test]
fn read_only_disks_are_read_beside_one_another_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Raw, Format::Qcow2] {
        let source = make(&folder.path().join(format.name()), format, SIZE, None);
        let mut rig = Rig::open(&source, &threads(false));
        rig.write(77, &[5; 1024]);
        drop(rig);
        let before = std::fs::read(&source.path).unwrap();
        let read_only = source.clone().read_only();
        let mut both = [false, true].map(|with| Rig::open(&read_only, &threads(with)));
        for rig in &mut both {
            assert!(rig.disk.facts().read_only && !rig.disk.facts().discard);
            assert!(rig.read(77, 2) == [5; 1024]);
            let buffer = rig.buffer(0, 512);
            assert!(rig.request(Op::Write, 0, 1, buffer).is_err());
            rig.flush();
        }
        assert!(backend::block::Disk::open(&source, &threads(false)).is_err(), "it is in use");
        drop(both);
        assert!(before == std::fs::read(&source.path).unwrap());
    }
}

#[test]
fn what_goes_beyond_the_disk_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Raw, Format::Qcow2] {
        let source = make(&folder.path().join(format.name()), format, SIZE, None);
        let mut rig = Rig::open(&source, &threads(false));
        let end = SIZE / 512;
        for (op, at, count) in [
            (Op::Write, end, 1),
            (Op::Write, end - 1, 2),
            (Op::Write, u64::MAX / 512, 1),
            (Op::WriteZeroes { unmap: false }, end - 1, 2),
            (Op::WriteZeroes { unmap: true }, end, 1),
            (Op::Discard, end, 8),
        ] {
            let data = match op {
                Op::Write => rig.buffer(0x2000, count * 512),
                _ => rig.buffer(0, 0),
            };
            assert!(rig.request(op, at, count, data).is_err(), "{op:?} at {at}");
        }
        rig.write(end - 1, &[9; 512]);
        assert!(rig.read(end - 1, 1) == [9; 512]);
        drop(rig);
        let len = std::fs::metadata(&source.path).unwrap().len();
        assert!(len <= SIZE, "{len}");
    }
}

/// Discarding gives space back: of raw images to the host, in qcow2 images to the next that is written.
#[test]
fn discarded_space_is_used_again() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let blocks = |path: &Path| std::fs::metadata(path).unwrap().blocks() * 512;
    for format in [Format::Raw, Format::Qcow2] {
        let source = make(&folder.path().join(format.name()), format, SIZE, None);
        let mut rig = Rig::open(&source, &threads(false));
        for round in 0..8 {
            let at = round % 4 * (SIZE / 2048);
            rig.write(at, &vec![3; SIZE as usize / 4]);
            rig.flush();
            rig.discard(at, SIZE / 2048);
        }
        rig.flush();
        drop(rig);
        assert!(blocks(&source.path) < SIZE / 2, "{format}: {}", blocks(&source.path));
    }
}

/// A buffer of more pieces than the kernel takes at once.
#[test]
fn thousands_of_pieces() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Raw, Format::Qcow2] {
        let source = make(&folder.path().join(format.name()), format, SIZE, None);
        for with_threads in ENGINES {
            let mut rig = Rig::open(&source, &threads(with_threads));
            let bytes: Vec<u8> = (0..100 * 512).map(|n| (n % 251) as u8).collect();
            let mut buffer = rig.buffer(0, 0);
            let mut at = 1 << 20;
            while buffer.len() < bytes.len() as u64 {
                let mut piece: Buffer = rig.buffer(at, 16);
                piece = piece.slice(0, (bytes.len() as u64 - buffer.len()).min(16));
                buffer.append(piece);
                at += 64;
            }
            assert!(buffer.pieces().len() > 3000);
            buffer.write(0, &bytes);
            rig.request(Op::Write, 3, 100, buffer.clone()).unwrap();
            buffer.clear(0, u64::MAX);
            rig.request(Op::Read, 3, 100, buffer.clone()).unwrap();
            let mut read = vec![0; bytes.len()];
            buffer.read(0, &mut read);
            assert!(read == bytes);
            assert!(rig.read(3, 100) == bytes);
        }
    }
}
