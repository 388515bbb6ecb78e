//! Images that were not closed, and whose counts are wrong in one way or another, are right again once opened.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;

use backend::block::{Disk, Error, Format, Source, qcow2};
use support::*;

const SIZE: u64 = 256 << 20;

/// An image with some data, and what it holds.
fn image(folder: &tempfile::TempDir, options: &str) -> (Source, Vec<u8>) {
    let path = folder.path().join("a.qcow2");
    qemu_img_ok(&["create", "-q", "-f", "qcow2", "-o", options, path.to_str().unwrap(), &SIZE.to_string()]);
    let source = Source::new(&path, Format::Qcow2);
    let mut rig = Rig::open(&source, &threads(false));
    let mut model = vec![0; SIZE as usize];
    for n in 0..60 {
        let at = n * 7919 % (SIZE / 512 - 64);
        rig.write(at, &[n as u8 + 1; 64 * 512]);
        model[at as usize * 512..][..64 * 512].fill(n as u8 + 1);
    }
    drop(rig);
    check(&path);
    (source, model)
}

fn header(source: &Source) -> (File, qcow2::Header) {
    let file = File::options().read(true).write(true).open(&source.path).unwrap();
    let header = qcow2::Header::read(&file, file.metadata().unwrap().len()).unwrap().unwrap();
    (file, header)
}

fn number(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).unwrap();
    u64::from_be_bytes(bytes)
}

/// Opens it, reads it all, and has it judged.
fn mends(source: &Source, model: &[u8]) {
    let mut rig = Rig::open(source, &threads(false));
    for at in (0..SIZE / 512).step_by(8192) {
        assert!(rig.read(at, 8192) == model[at as usize * 512..][..8192 * 512], "sector {at}");
    }
    drop(rig);
    check(&source.path);
    same(&source.path, Format::Qcow2, model);
    let (_, header) = header(source);
    assert!(!header.dirty);
    // And it goes on from there.
    let mut rig = Rig::open(source, &threads(false));
    rig.write(5, &[1; 512]);
    drop(rig);
    check(&source.path);
}

#[test]
fn wrong_counts_are_counted_again() {
    for options in
        ["cluster_size=64k", "cluster_size=512", "refcount_bits=1", "refcount_bits=64,cluster_size=4k"]
    {
        for wrong in [0x00, 0xff] {
            let folder = tempfile::tempdir().unwrap();
            let (source, model) = image(&folder, options);
            let (file, before) = header(&source);
            let block = number(&file, before.refcounts_at);
            file.write_all_at(&vec![wrong; before.cluster() as usize], block).unwrap();
            qcow2::set_dirty(&file, true).unwrap();
            mends(&source, &model);
        }
    }
}

#[test]
fn lost_counts_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (source, model) = image(&folder, "cluster_size=64k");
    let (file, before) = header(&source);
    let table = vec![0; (u64::from(before.refcount_clusters) * before.cluster()) as usize];
    file.write_all_at(&table, before.refcounts_at).unwrap();
    qcow2::set_dirty(&file, true).unwrap();
    mends(&source, &model);
}

/// What a power failure does: the tables name data that never reached the file.
#[test]
fn entries_beyond_the_end_are_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let (source, mut model) = image(&folder, "cluster_size=64k");
    let (file, before) = header(&source);
    let l2 = number(&file, before.l1_at) & 0x00ff_ffff_ffff_fe00;
    let len = file.metadata().unwrap().len();
    let lost = (0..8192).rev().find(|n| number(&file, l2 + n * 8) != 0).unwrap();
    file.write_all_at(&((len + (9 << 16)) | (1 << 63)).to_be_bytes(), l2 + lost * 8).unwrap();
    qcow2::set_dirty(&file, true).unwrap();
    if let Some(bytes) = model.get_mut((lost as usize) << 16..(lost as usize + 1) << 16) {
        bytes.fill(0);
    }
    mends(&source, &model);
}

#[test]
fn compressed_data_is_counted_too() {
    let folder = tempfile::tempdir().unwrap();
    let (source, model) = image(&folder, "cluster_size=64k");
    let path = folder.path().join("compressed.qcow2");
    let (from, to) = (source.path.to_str().unwrap(), path.to_str().unwrap());
    qemu_img_ok(&["convert", "-c", "-f", "qcow2", "-O", "qcow2", from, to]);
    let source = Source::new(&path, Format::Qcow2);
    let (file, _) = header(&source);
    qcow2::set_dirty(&file, true).unwrap();
    mends(&source, &model);
}

#[test]
fn an_image_that_was_not_closed_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (source, model) = image(&folder, "cluster_size=64k");
    let (file, _) = header(&source);
    qcow2::set_dirty(&file, true).unwrap();
    let before = std::fs::read(&source.path).unwrap();
    let mut rig = Rig::open(&source.clone().read_only(), &threads(false));
    assert!(rig.read(0, 8192) == model[..8192 * 512]);
    drop(rig);
    assert!(before == std::fs::read(&source.path).unwrap());
}

#[test]
fn what_contradicts_itself_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (source, _) = image(&folder, "cluster_size=64k");
    let (file, before) = header(&source);
    let first = number(&file, before.l1_at);
    // Item 23's looped L1: every entry names the first L2 table.
    for n in 1..u64::from(before.l1_entries).max(2) {
        file.write_all_at(&first.to_be_bytes(), before.l1_at + n * 8).unwrap();
    }
    let l2 = first & 0x00ff_ffff_ffff_fe00;
    let data = number(&file, l2);
    file.write_all_at(&data.to_be_bytes(), l2 + 8).unwrap();
    qcow2::set_dirty(&file, true).unwrap();
    let before = std::fs::read(&source.path).unwrap();
    let error = Disk::open(&source, &threads(false)).unwrap_err();
    assert!(matches!(error, Error::Refused { reason: qcow2::Refused::Twice(_), .. }), "{error}");
    assert!(error.to_string().contains("qemu-img check -r all"), "{error}");
    assert!(before == std::fs::read(&source.path).unwrap());
}
