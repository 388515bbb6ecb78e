//! Counting again: the reference counts of an image that was not closed.
//!
//! A process that died may have counted clusters that no table names yet; a host that lost power may have lost counts
//! of clusters that tables do name, and the next allocation would hand those out twice. Both end here, before the
//! library allocates anything:
//!
//! 1. Walk the header, the L1 table and every L2 table, and count what they name. An entry that points beyond the end
//!    of the file names data that never got there (no flush had acknowledged it): it is cleared.
//! 2. Write all counts anew, *behind* everything in use: refcount blocks, then a refcount table, which count
//!    themselves as well. Sync.
//! 3. Point the header there: one write within one sector.
//!
//! The dirty bit stays up throughout, so whoever is interrupted here is followed by another who begins again; nothing
//! above reads the old counts, which are free space. Without snapshots (images with snapshots are not written) every
//! cluster is used once, except for those that compressed data shares: an image that says otherwise is refused, since
//! whose the cluster is cannot be told.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Header, Refused, read_table};

/// The most clusters that are counted: 16 bits each. 8 TiB at the usual cluster size.
const MOST_CLUSTERS: u64 = 1 << 27;

/// Where an L1 or L2 entry points.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bits of an L1 entry, and of the L2 entry of plain data, that are always zero.
const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// An L2 entry of compressed data.
const COMPRESSED: u64 = 1 << 62;
/// The pointee is used once: it may be written in place.
const COPIED: u64 = 1 << 63;

/// What counting found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Clusters in use, without the counts themselves.
    pub used: u64,
    /// Entries that pointed beyond the end of the file.
    pub cleared: u64,
}

/// Counts the clusters of an image and writes the counts anew. `len` is the length of its file, which changes.
///
/// # Errors
/// The host's; and `Ok(Err(..))` is an image whose tables contradict themselves. Such an image is left as it was,
/// but for entries that were cleared.
pub fn rebuild(file: &File, header: &Header, len: u64) -> io::Result<Result<Counted, Refused>> {
    let mut count = match Count::new(file, header, len) {
        Ok(count) => count,
        Err(refused) => return Ok(Err(refused)),
    };
    match count.walk() {
        Ok(()) => {}
        Err(Stop::Refused(refused)) => return Ok(Err(refused)),
        Err(Stop::Host(error)) => return Err(error),
    }
    match count.write() {
        Ok(()) => Ok(Ok(count.found)),
        Err(Stop::Refused(refused)) => Ok(Err(refused)),
        Err(Stop::Host(error)) => Err(error),
    }
}

/// Why counting ended early.
enum Stop {
    Refused(Refused),
    Host(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

struct Count<'a> {
    file: &'a File,
    header: &'a Header,
    /// By cluster of the file.
    counts: Vec<u16>,
    found: Counted,
}

impl<'a> Count<'a> {
    fn new(file: &'a File, header: &'a Header, len: u64) -> Result<Self, Refused> {
        let clusters = len.div_ceil(header.cluster());
        if clusters > MOST_CLUSTERS {
            return Err(Refused::TooLarge);
        }
        Ok(Self { file, header, counts: vec![0; clusters as usize], found: Counted::default() })
    }

    /// Counts one use of the cluster at an offset. False if it lies beyond the end.
    fn use_once(&mut self, at: u64) -> Result<bool, Stop> {
        let cluster = at >> self.header.cluster_bits;
        match self.counts.get_mut(cluster as usize) {
            None => Ok(false),
            Some(count @ 0) => {
                *count = 1;
                self.found.used += 1;
                Ok(true)
            }
            Some(_) => Err(Stop::Refused(Refused::Twice(cluster))),
        }
    }

    fn walk(&mut self) -> Result<(), Stop> {
        self.use_once(0)?;
        let l1_bytes = u64::from(self.header.l1_entries) * 8;
        for at in (self.header.l1_at..self.header.l1_at + l1_bytes).step_by(self.header.cluster() as usize) {
            self.use_once(at)?;
        }
        let l1 = read_table(self.file, self.header.l1_at, l1_bytes)?;
        for (index, entry) in l1.into_iter().enumerate() {
            if entry & OFFSET == 0 {
                continue;
            }
            if entry & L1_RESERVED != 0 || entry & OFFSET & (self.header.cluster() - 1) != 0 {
                return Err(Stop::Refused(Refused::Entry("L1 table")));
            }
            if self.use_once(entry & OFFSET)? {
                self.mark_copied(self.header.l1_at, index, entry)?;
                self.walk_l2(entry & OFFSET)?;
            } else {
                self.clear(self.header.l1_at, index)?;
            }
        }
        Ok(())
    }

    fn walk_l2(&mut self, table_at: u64) -> Result<(), Stop> {
        let table = read_table(self.file, table_at, self.header.cluster())?;
        for (index, entry) in table.into_iter().enumerate() {
            let inside = match entry {
                entry if entry & COMPRESSED != 0 => self.use_compressed(entry)?,
                entry if entry & OFFSET == 0 => true,
                entry if entry & L2_RESERVED != 0 || entry & OFFSET & (self.header.cluster() - 1) != 0 => {
                    return Err(Stop::Refused(Refused::Entry("L2 table")));
                }
                entry => self.use_once(entry & OFFSET)?,
            };
            if !inside {
                self.clear(table_at, index)?;
            } else if entry & COMPRESSED == 0 && entry & OFFSET != 0 {
                self.mark_copied(table_at, index, entry)?;
            }
        }
        Ok(())
    }

    /// Compressed data begins and ends anywhere, and shares clusters with other compressed data.
    fn use_compressed(&mut self, entry: u64) -> Result<bool, Stop> {
        let offset_bits = 62 - (self.header.cluster_bits - 8);
        let at = entry & ((1 << offset_bits) - 1);
        let sectors = (entry & !(COPIED | COMPRESSED)) >> offset_bits;
        // The sector it begins in, and as many more.
        let end = (at & !511) + (sectors + 1) * 512;
        let first = at >> self.header.cluster_bits;
        if first >= self.counts.len() as u64 {
            return Ok(false);
        }
        for cluster in first..end.div_ceil(self.header.cluster()) {
            // The last sectors may be said to lie beyond the end: lengths are rounded up.
            let Some(count) = self.counts.get_mut(cluster as usize) else { break };
            self.found.used += u64::from(*count == 0);
            *count = count.checked_add(1).ok_or(Stop::Refused(Refused::Twice(cluster)))?;
        }
        Ok(true)
    }

    /// What is used once may be written in place, and the flag must say so.
    fn mark_copied(&self, table_at: u64, index: usize, entry: u64) -> io::Result<()> {
        match entry & COPIED {
            0 => self.file.write_all_at(&(entry | COPIED).to_be_bytes(), table_at + index as u64 * 8),
            _ => Ok(()),
        }
    }

    fn clear(&mut self, table_at: u64, index: usize) -> Result<(), Stop> {
        self.found.cleared += 1;
        Ok(self.file.write_all_at(&[0; 8], table_at + index as u64 * 8)?)
    }

    /// Writes all counts behind what is in use.
    fn write(&mut self) -> Result<(), Stop> {
        let (cluster, bits) = (self.header.cluster(), 1u64 << self.header.refcount_order);
        let per_block = cluster * 8 / bits;
        let first = self.counts.iter().rposition(|count| *count != 0).map_or(0, |last| last as u64 + 1);
        // Blocks and table count themselves, so there may have to be more of them than it first seems.
        let (mut blocks, mut table) = (0, 0);
        loop {
            let needed = (first + blocks + table).div_ceil(per_block);
            let needed_table = (needed * 8).div_ceil(cluster);
            if (needed, needed_table) == (blocks, table) {
                break;
            }
            (blocks, table) = (needed, needed_table);
        }
        self.counts.resize((first + blocks + table) as usize, 0);
        self.counts[first as usize..].fill(1);
        let most = if bits >= 16 { u16::MAX } else { (1 << bits) - 1 };
        if self.counts.iter().any(|count| *count > most) {
            return Err(Stop::Refused(Refused::Field("its counts are too narrow for what it shares")));
        }
        for (block, counts) in (first..).zip(self.counts.chunks(per_block as usize)) {
            self.file.write_all_at(&packed(counts, bits, cluster), block * cluster)?;
        }
        let mut entries = vec![0; (table * cluster) as usize];
        for (block, entry) in (first..first + blocks).zip(entries.chunks_exact_mut(8)) {
            entry.copy_from_slice(&(block * cluster).to_be_bytes());
        }
        let table_at = (first + blocks) * cluster;
        self.file.write_all_at(&entries, table_at)?;
        self.file.sync_data()?;
        // refcount_table_offset and refcount_table_clusters stand side by side.
        let mut fields = [0; 12];
        fields[..8].copy_from_slice(&table_at.to_be_bytes());
        fields[8..].copy_from_slice(&(table as u32).to_be_bytes());
        self.file.write_all_at(&fields, 48)?;
        // What lies behind is in no table.
        self.file.set_len((first + blocks + table) * cluster)?;
        Ok(self.file.sync_data()?)
    }
}

/// A refcount block: counts of `bits` bits each. Narrow ones fill a byte from its low end, wide ones are big-endian.
fn packed(counts: &[u16], bits: u64, cluster: u64) -> Vec<u8> {
    let mut block = vec![0; cluster as usize];
    for (index, count) in counts.iter().enumerate() {
        let bit = index * bits as usize;
        match bits {
            1..=8 => block[bit / 8] |= (*count as u8) << (bit % 8),
            _ => {
                let end = (bit + bits as usize) / 8;
                block[end - 2..end].copy_from_slice(&count.to_be_bytes());
            }
        }
    }
    block
}

#[cfg(test)]
#[path = "rebuild_tests.rs"]
mod tests;
