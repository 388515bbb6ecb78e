//! The GUID partition table of a disk (UEFI Specification 2.10, chapter 5): written with one partition, read from
//! anyone.
//!
//! ```text
//! sector 0        protective MBR
//!        1        header: where the entries are, how many, checksums
//!        2..34    128 entries of 128 bytes
//!        …        partitions
//!        -33..-1  the entries again
//!        -1       the header again, the other way round
//! ```
//!
//! A table that is read was last written by a guest. The crates for it trust more than that: `gpt` panics at an
//! entry's unusual length, `gptman` allocates what the header claims.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use flate2::Crc;
use uuid::Uuid;

/// The unit of the table, in bytes.
pub const SECTOR: u64 = 512;

/// Where the first partition begins, in bytes: at the alignment that everybody uses.
pub const START: u64 = 1 << 20;

/// Sectors after the last partition: the entries and the header.
const TAIL: u64 = 33;

const ENTRY: usize = 128;
const ENTRIES: usize = 128;
const HEADER: usize = 92;

/// A root file system of x86-64 (Discoverable Partitions Specification).
const ROOT: Uuid = Uuid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709);

/// Writes a table with one partition, for a root file system, that takes all of a disk of `size` bytes. `disk` and `partition`
/// are their names. Gives the bytes that the partition takes.
pub fn write(mut to: impl Write + Seek, size: u64, disk: Uuid, partition: Uuid) -> io::Result<Range<u64>> {
    let sectors = size / SECTOR;
    let (first, last) = (START / SECTOR, sectors.saturating_sub(TAIL + 1));
    if last <= first {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no room for a partition"));
    }
    let mut entries = vec![0; ENTRY * ENTRIES];
    entries[..16].copy_from_slice(&ROOT.to_bytes_le());
    entries[16..32].copy_from_slice(&partition.to_bytes_le());
    entries[32..40].copy_from_slice(&first.to_le_bytes());
    entries[40..48].copy_from_slice(&last.to_le_bytes());
    for (place, unit) in entries[56..].chunks_exact_mut(2).zip("root".encode_utf16()) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
    let header = |own: u64, other: u64, entries_at: u64| {
        let mut header = vec![];
        header.extend(b"EFI PART");
        header.extend([0, 0, 1, 0]); // revision 1.0
        header.extend((HEADER as u32).to_le_bytes());
        header.extend([0; 8]); // its own checksum, to come; reserved
        for lba in [own, other, START / SECTOR, last] {
            header.extend(lba.to_le_bytes());
        }
        header.extend(disk.to_bytes_le());
        header.extend(entries_at.to_le_bytes());
        for number in [ENTRIES as u32, ENTRY as u32, crc(&entries)] {
            header.extend(number.to_le_bytes());
        }
        let sum = crc(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    };
    let end = sectors - 1;
    let mut put = |sector: u64, bytes: &[u8]| {
        to.seek(SeekFrom::Start(sector * SECTOR))?;
        to.write_all(bytes)
    };
    put(0, &protective(sectors))?;
    put(1, &header(1, end, 2))?;
    put(2, &entries)?;
    put(end - (TAIL - 1), &entries)?;
    put(end, &header(end, 1, end - (TAIL - 1)))?;
    Ok(first * SECTOR..(last + 1) * SECTOR)
}

/// The partitions of the disk `from`, which has `size` bytes, in the table's order; none if there is no valid table. Each lies
/// within the disk.
pub fn read(mut from: impl Read + Seek, size: u64) -> io::Result<Vec<Range<u64>>> {
    if size < (2 + TAIL) * SECTOR {
        return Ok(vec![]);
    }
    let mut get = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        from.seek(SeekFrom::Start(at))?;
        from.read_exact(&mut bytes).map(|()| bytes)
    };
    let header = get(SECTOR, HEADER)?;
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    let half = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap_or_default());
    let mut summed = header.clone();
    summed[16..20].fill(0);
    let usual = header.starts_with(b"EFI PART")
        && half(12) == HEADER as u32
        && half(16) == crc(&summed)
        && half(80) as usize <= ENTRIES
        && half(84) == ENTRY as u32;
    let at = word(&header, 72).checked_mul(SECTOR);
    let length = half(80) as usize * ENTRY;
    let Some(at) = at.filter(|at| usual && at.checked_add(length as u64).is_some_and(|end| end <= size))
    else {
        return Ok(vec![]);
    };
    let entries = get(at, length)?;
    if crc(&entries) != half(88) {
        return Ok(vec![]);
    }
    let partition = |entry: &[u8]| {
        let start = word(entry, 32).checked_mul(SECTOR)?;
        let end = word(entry, 40).checked_add(1)?.checked_mul(SECTOR)?;
        (entry[..16] != [0; 16] && start < end && end <= size).then_some(start..end)
    };
    Ok(entries.chunks_exact(ENTRY).filter_map(partition).collect())
}

/// One partition of type 0xee over everything, so that old tools see that the disk is in use.
fn protective(sectors: u64) -> Vec<u8> {
    let mut mbr = vec![0; SECTOR as usize];
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    mbr[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    mbr[458..462].copy_from_slice(&length.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    const SIZE: u64 = 4 << 20;

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; SIZE as usize];
        let taken = write(Cursor::new(&mut disk), SIZE, Uuid::from_u128(1), Uuid::from_u128(2)).unwrap();
        assert_eq!(taken, START..SIZE - TAIL * SECTOR);
        disk
    }

    #[test]
    fn what_is_written_is_read() {
        let disk = disk();
        let partitions = read(Cursor::new(&disk), SIZE).unwrap();
        assert_eq!((partitions.len(), partitions[0].clone()), (1, START..SIZE - TAIL * SECTOR));
        assert_eq!((&disk[510..512], disk[450]), (&[0x55, 0xaa][..], 0xee));
    }

    #[test]
    fn the_copy_at_the_end_names_itself() {
        let disk = disk();
        let (first, last) = (&disk[512..604], &disk[disk.len() - 512..][..92]);
        assert_eq!((&first[24..32], &first[32..40]), (&last[32..40], &last[24..32]));
        let entries = disk.len() - 33 * 512;
        assert_eq!(disk[1024..1024 + 32 * 512], disk[entries..entries + 32 * 512]);
    }

    #[test]
    fn no_table_and_no_room() {
        assert!(read(Cursor::new(vec![0; 1 << 20]), 1 << 20).unwrap().is_empty());
        assert!(read(Cursor::new(vec![]), 0).unwrap().is_empty());
        assert!(write(Cursor::new(vec![]), 1 << 20, Uuid::nil(), Uuid::nil()).is_err());
    }

    #[test]
    fn a_partition_beyond_the_end_is_none() {
        let mut disk = disk();
        disk[1024 + 40..1024 + 48].copy_from_slice(&u64::MAX.to_le_bytes());
        let sum = crc(&disk[1024..1024 + ENTRY * ENTRIES]).to_le_bytes();
        disk[512 + 88..512 + 92].copy_from_slice(&sum);
        disk[512 + 16..512 + 20].fill(0);
        let sum = crc(&disk[512..604]).to_le_bytes();
        disk[512 + 16..512 + 20].copy_from_slice(&sum);
        assert!(read(Cursor::new(&disk), SIZE).unwrap().is_empty());
    }

    proptest! {
        /// With the checksums mended, so that what is behind them is reached.
        #[test]
        fn any_header_is_harmless(at in 12usize..92, bytes in prop::collection::vec(any::<u8>(), 1..9)) {
            let mut disk = disk();
            let end = (at + bytes.len()).min(92);
            disk[512 + at..512 + end].copy_from_slice(&bytes[..end - at]);
            disk[512 + 16..512 + 20].fill(0);
            let sum = crc(&disk[512..604]).to_le_bytes();
            disk[512 + 16..512 + 20].copy_from_slice(&sum);
            for partition in read(Cursor::new(&disk), SIZE).unwrap() {
                prop_assert!(partition.start < partition.end && partition.end <= SIZE);
            }
        }
    }
}
