//! Disks of installed systems, on which `run --disk` looks for a kernel: a partition table, and a file system.
//!
//! An input is a list of blocks that are not zero, so that mutations meet what is there and not the emptiness between:
//!
//! ```text
//!  how, length in KiB, where and what to change in the table ── block number, 1024 bytes ── block number, 1024 bytes …
//!   1    2              2        8
//! ```
//!
//! The file systems of the corpus were made by `mke2fs -b 1024 -N 32 -m 0 -d FOLDER` with two kernels and a `grub.cfg`:
//! `ext4` without checksums and journal, `ext2`, and `journal` with both and a transaction in it that `debugfs` wrote.

use std::io::Cursor;

use flate2::Crc;
use images::gpt::{self, START};
use images::installed;
use uuid::Uuid;

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target = Target {
    name: "systems",
    about: "disks on which a kernel is looked for: GPT and ext4",
    longest: 64 << 10,
    run,
    seeds,
};

const BLOCK: usize = 1024;
/// The most KiB of a file system.
const MOST: usize = 4096;
/// Bytes after the last partition.
const TAIL: usize = 33 * 512;

/// The disk that an input describes.
fn disk(input: &[u8]) -> Vec<u8> {
    let mut source = Source::new(input);
    let how = source.byte();
    let kib = usize::from(source.word()) % (MOST + 1);
    let (change_at, change) = (usize::from(source.word()), source.take(8));
    let start = if how & 1 == 0 { 0 } else { START as usize };
    let tail = if start == 0 { 0 } else { TAIL };
    let mut disk = vec![0; start + kib * BLOCK + tail];
    let size = disk.len() as u64;
    if start > 0 {
        let (disk, names) = (Cursor::new(&mut disk), (Uuid::from_u128(1), Uuid::from_u128(2)));
        // What is too small has no table.
        let _ = gpt::write(disk, size, names.0, names.1);
    }
    while !source.is_empty() {
        let at = start + usize::from(source.word()) * BLOCK;
        let block = source.take(BLOCK);
        if let Some(place) = disk.get_mut(at..at + block.len()) {
            place.copy_from_slice(block);
        }
    }
    if how & 2 != 0 && start > 0 {
        change_table(&mut disk, change_at, change);
    }
    disk
}

/// Changes something in the header or the first entries, and mends the checksums.
fn change_table(disk: &mut [u8], at: usize, change: &[u8]) {
    let at = 512 + at % 1024;
    disk[at..at + change.len()].copy_from_slice(change);
    let entries = crc(&disk[1024..1024 + 128 * 128]);
    disk[512 + 88..512 + 92].copy_from_slice(&entries);
    disk[512 + 16..512 + 20].fill(0);
    let header = crc(&disk[512..512 + 92]);
    disk[512 + 16..512 + 20].copy_from_slice(&header);
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

fn run(input: &[u8]) {
    let disk = disk(input);
    let size = disk.len() as u64;
    if let Ok(system) = installed::find(Cursor::new(disk), size) {
        assert!(system.kernel.len() as u64 <= size && system.initrd.len() as u64 <= size);
        assert!(system.command_line.contains("root="), "{:?}", system.command_line);
    }
}

/// The file systems of the corpus in partitions, one of which begins a block further on.
fn seeds() -> Vec<Vec<u8>> {
    let files = [
        &include_bytes!("../../corpus/systems/ext4")[..],
        include_bytes!("../../corpus/systems/ext2"),
        include_bytes!("../../corpus/systems/journal"),
    ];
    let with = |how: u8, change_at: u16, change: u64, file: &[u8]| {
        let mut input = file.to_vec();
        input[0] = how;
        input[3..5].copy_from_slice(&change_at.to_le_bytes());
        input[5..13].copy_from_slice(&change.to_le_bytes());
        input
    };
    // The first sector of the first partition.
    let first = 512 + 32;
    let place = START / 512;
    files.iter().map(|file| with(1, 0, 0, file)).chain([with(3, first, place + 2, files[0])]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus;

    #[test]
    fn the_seeds_are_systems() {
        let seeds = corpus::seeds(&TARGET);
        assert_eq!(seeds.len(), 7);
        let found = seeds.iter().map(|seed| {
            let disk = disk(seed);
            let size = disk.len() as u64;
            installed::find(Cursor::new(disk), size).map(|system| (system.version, system.command_line))
        });
        let found: Vec<_> = found.collect();
        let good = found.iter().flatten().count();
        assert_eq!(good, 6, "{found:?}");
        for (version, command_line) in found.iter().flatten() {
            assert_eq!((&**version, &**command_line), ("6.1.0-10-amd64", "root=UUID=1 ro quiet"));
        }
        assert!(found[3].is_err(), "its partition begins elsewhere");
    }
}
