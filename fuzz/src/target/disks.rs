//! Disk images: opened as what they claim to be, read, written, zeroed, discarded, closed, and opened again.
//!
//! The file must not grow beyond what its header's disk can need, and nothing outside of its directory, which is empty,
//! may be opened: the images of the seeds name files there are.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use backend::block::io::{Engine, Inline, block_on};
use backend::block::qcow2::Header;
use backend::block::{Format, Image, Source as Disk};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target = Target {
    name: "disks",
    about: "qcow2 images: opened, used, closed and opened again",
    longest: 16 << 10,
    run,
    seeds,
};

/// Bytes of an input that say what is done with the image.
const SCRIPT: usize = 96;

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let mut script = Source::new(source.take(SCRIPT));
    let image = source.rest();
    let mut file: File = memfd_create("image", MFdFlags::MFD_CLOEXEC).expect("the host gives memory").into();
    file.write_all(image).expect("as above");
    let most = match Header::read(&file, image.len() as u64).expect("memory is read") {
        Ok(header) => header.most(image.len() as u64),
        Err(_) => image.len() as u64,
    };
    let read_only = script.once_in(4);
    for _ in 0..2 {
        let disk = Disk { read_only, ..Disk::new(path(), Format::Qcow2) };
        let engine: Arc<dyn Engine> = Arc::new(Inline);
        let copy = file.try_clone().expect("the host gives a descriptor");
        let Ok(image) = Image::open_file(copy, &disk, &engine) else { break };
        block_on(&*engine, use_it(&image, &mut script));
        let closed = script.once_in(4) || block_on(&*engine, image.close()).is_ok();
        // Once more if it was closed well, or not closed at all.
        if !closed {
            break;
        }
    }
    let len = file.metadata().expect("memory has a length").len();
    assert!(len <= most, "{len} bytes of {most}");
}

/// An image's place: a directory of its own, with nothing else in it.
fn path() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("the host gives a directory")).path().join("image")
}

async fn use_it(image: &Image, script: &mut Source<'_>) {
    let mut bytes = vec![0x5a; 64 << 10];
    for _ in 0..24 {
        if script.is_empty() {
            return;
        }
        let what = script.byte();
        // Near the beginning, near the end, or wherever.
        let place = u64::from(script.word()) * 512;
        let at = match what >> 6 {
            0 | 1 => place % image.size().max(1),
            2 => image.size().saturating_sub(place),
            _ => script.qword() & !511,
        };
        let len = (u64::from(script.byte()) + 1) * 256;
        let part = &mut bytes[..len as usize];
        // Each of them ends, be it in an error.
        match what & 7 {
            0 | 1 => drop(image.read(part.into(), at).await),
            2..=4 => drop(image.write((&*part).into(), at).await),
            5 => drop(image.zero(at, len << (what >> 3 & 7), what & 8 != 0).await),
            6 => drop(image.discard(at, len << (what >> 3 & 7)).await),
            _ => drop(image.flush().await),
        }
    }
}

/// Writes a big-endian number.
fn put(image: &mut [u8], at: usize, bytes: usize, value: u64) {
    image[at..at + bytes].copy_from_slice(&value.to_be_bytes()[8 - bytes..]);
}

/// An image of 64 KiB with 512-byte clusters: header, refcount table, refcount block, L1 table, an L2 table, data.
fn image(version: u64, refcount_order: u64, dirty: bool, behind: &[u8]) -> Vec<u8> {
    const COPIED: u64 = 1 << 63;
    let mut image = vec![0; 9 << 9];
    for (at, bytes, value) in [
        (0, 4, 0x5146_49fb),
        (4, 4, version),
        (20, 4, 9),
        (24, 8, 64 << 10),
        (36, 4, 2),
        (40, 8, 3 << 9),
        (48, 8, 1 << 9),
        (56, 4, 1),
        (72, 8, u64::from(dirty)),
        (96, 4, refcount_order),
        (100, 4, 104),
        // Refcount table.
        (1 << 9, 8, 2 << 9),
        // L1 and L2: data, data, zeroes, zeroes over data, compressed data.
        (3 << 9, 8, 4 << 9 | COPIED),
        (4 << 9, 8, 5 << 9 | COPIED),
        ((4 << 9) + 8, 8, 6 << 9 | COPIED),
        ((4 << 9) + 16, 8, 1),
        ((4 << 9) + 24, 8, 7 << 9 | COPIED | 1),
        ((4 << 9) + 32, 8, 1 << 62 | 8 << 9),
    ] {
        put(&mut image, at, bytes, value);
    }
    let bits = 1 << refcount_order;
    for cluster in 0..9usize {
        let bit = cluster * bits;
        match bits {
            1..=8 => image[(2 << 9) + bit / 8] |= 1 << (bit % 8),
            _ => image[(2 << 9) + (bit + bits) / 8 - 1] = 1,
        }
    }
    if !behind.is_empty() {
        put(&mut image, 8, 8, 200);
        put(&mut image, 16, 4, behind.len() as u64);
        image[200..200 + behind.len()].copy_from_slice(behind);
        put(&mut image, 104, 4, 0xe279_2aca);
        put(&mut image, 108, 4, 3);
        image[112..115].copy_from_slice(b"raw");
    }
    image[5 << 9..].fill(0xc3);
    image
}

fn seeds() -> Vec<Vec<u8>> {
    // Operation, sector, length: see `use_it`.
    let scripts: [&[[u8; 4]]; 3] = [
        &[[0, 0, 0, 9], [2, 9, 0, 3], [3, 7, 0, 0], [7, 0, 0, 0], [5, 6, 0, 8], [13, 2, 0, 4], [0, 6, 0, 9]],
        &[[2, 64, 0, 255], [6, 3, 0, 255], [3, 2, 0, 255], [22, 8, 0, 255], [7, 0, 0, 0], [130, 2, 0, 1]],
        &[
            [2, 9, 0, 9],
            [2, 30, 0, 9],
            [2, 50, 0, 9],
            [2, 70, 0, 9],
            [2, 90, 0, 9],
            [2, 110, 0, 9],
            [7, 0, 0, 0],
        ],
    ];
    let scripts = scripts.map(|steps| [&[0], &*steps.concat()].concat());
    let images = [
        image(3, 4, false, b""),
        image(3, 4, true, b""),
        image(3, 0, false, b""),
        image(3, 6, true, b""),
        image(2, 4, false, b""),
        image(3, 4, false, b"/etc/passwd"),
        image(3, 4, false, b"../../etc/passwd"),
    ];
    let with = |script: &[u8], image: &[u8]| {
        let mut input = script.to_vec();
        input.resize(SCRIPT, 0);
        [&*input, image].concat()
    };
    images.iter().flat_map(|image| scripts.iter().map(|script| with(script, image))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_write() {
        for input in seeds().iter().take(3) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&input[SCRIPT..]).unwrap();
            let engine: Arc<dyn Engine> = Arc::new(Inline);
            let copy = file.try_clone().unwrap();
            let image = Image::open_file(copy, &Disk::new(path(), Format::Qcow2), &engine).unwrap();
            block_on(&*engine, use_it(&image, &mut Source::new(&input[1..SCRIPT])));
            assert!(file.metadata().unwrap().len() > input.len() as u64, "clusters are allocated");
        }
    }

    fn opened(image: &[u8]) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(image).unwrap();
        let engine: Arc<dyn Engine> = Arc::new(Inline);
        Image::open_file(file, &Disk::new(path(), Format::Qcow2), &engine).is_ok()
    }

    #[test]
    fn the_seeds_get_past_the_door() {
        for order in 0..=6 {
            assert!(opened(&image(3, order, false, b"")), "{order}");
        }
        assert!(opened(&image(2, 4, false, b"")) && !opened(&image(3, 4, false, b"/etc/passwd")));
        assert!(opened(&image(3, 4, true, b"")), "it is counted again");
    }
}
