//! The header: read, and believed only as far as it holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Refused;
use crate::block::Format;

const MAGIC: u32 = 0x5146_49fb;
/// Bytes of a version 2 header, and the least of version 3.
const V2_LENGTH: u64 = 72;
const V3_LENGTH: u64 = 104;
/// The largest disk, in bytes: what walking all its tables at the smallest cluster still takes a moment for.
const LARGEST: u64 = 64 << 40;
/// The largest L1 table in entries, and refcount table in bytes: QEMU's limits.
const L1_MOST: u32 = 4 << 20;
const REFCOUNT_TABLE_MOST: u64 = 8 << 20;
/// `backing_file_size` is at most this.
const NAME_MOST: u32 = 1023;
/// The header extension that names the backing file's format.
const BACKING_FORMAT: u32 = 0xe279_2aca;

/// Incompatible features, by bit.
const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// Where they stand.
const INCOMPATIBLE_AT: u64 = 72;

/// The image that an image names as the one behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackingName {
    /// As it stands there; no path yet.
    pub name: String,
    /// Its format.
    pub format: Format,
}

/// What a header says, checked against itself and the file's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Clusters have two to the power of this bytes: 9 to 21.
    pub cluster_bits: u32,
    /// The disk's size in bytes.
    pub size: u64,
    /// Where the L1 table stands.
    pub l1_at: u64,
    /// Its entries.
    pub l1_entries: u32,
    /// Where the refcount table stands.
    pub refcounts_at: u64,
    /// Its clusters.
    pub refcount_clusters: u32,
    /// Counts have two to the power of this bits: 0 to 6.
    pub refcount_order: u32,
    /// How many snapshots it has.
    pub snapshots: u32,
    /// It was open for writing and not closed: counts may be wrong.
    pub dirty: bool,
    /// The image behind it.
    pub backing: Option<BackingName>,
}

impl Header {
    /// Bytes of a cluster.
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// The most bytes the file of such an image needs, if it has `len` now: all clusters and all tables anew.
    pub fn most(&self, len: u64) -> u64 {
        // At 512-byte clusters and 64-bit counts, L2 tables and counts take 1/64 each.
        len.saturating_add(self.size).saturating_add(self.size / 16).saturating_add(64 << 20)
    }

    /// Reads the header of an image.
    ///
    /// # Errors
    /// The host's; and `Ok(Err(..))` is a header that is not accepted.
    pub fn read(file: &File, len: u64) -> io::Result<Result<Self, Refused>> {
        let mut start = vec![0; len.min(1 << 21) as usize];
        match file.read_exact_at(&mut start, 0) {
            Ok(()) => Ok(Self::parse(&start, len)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Refused::Short)),
            Err(error) => Err(error),
        }
    }

    /// Parses the first bytes of an image: its first cluster, or all there is. `len` is the file's length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(start: &[u8], len: u64) -> Result<Self, Refused> {
        let fields = Fields(start);
        if fields.u32(0)? != MAGIC {
            return Err(Refused::Magic);
        }
        let version = fields.u32(4)?;
        let (incompatible, refcount_order, header_length) = match version {
            2 => (0, 4, V2_LENGTH),
            3 => (fields.u64(INCOMPATIBLE_AT)?, fields.u32(96)?, fields.u32(100)?.into()),
            other => return Err(Refused::Version(other)),
        };
        check_features(incompatible)?;
        if fields.u32(32)? != 0 {
            return Err(Refused::Encrypted);
        }
        let cluster_bits = fields.u32(20)?;
        if !(9..=21).contains(&cluster_bits) {
            return Err(Refused::ClusterSize(cluster_bits));
        }
        let cluster = 1u64 << cluster_bits;
        if version == 3 && !(V3_LENGTH..=cluster).contains(&header_length) {
            return Err(Refused::Field("its header's length is none"));
        }
        if refcount_order > 6 {
            return Err(Refused::Field("its reference counts are wider than 64 bits"));
        }
        let header = Self {
            version,
            cluster_bits,
            size: fields.u64(24)?,
            l1_at: fields.u64(40)?,
            l1_entries: fields.u32(36)?,
            refcounts_at: fields.u64(48)?,
            refcount_clusters: fields.u32(56)?,
            refcount_order,
            snapshots: fields.u32(60)?,
            dirty: incompatible & DIRTY != 0,
            backing: backing(&fields, cluster, version, header_length)?,
        };
        header.check_tables(len)?;
        Ok(header)
    }

    fn check_tables(&self, len: u64) -> Result<(), Refused> {
        if self.size > LARGEST {
            return Err(Refused::Size(self.size));
        }
        let inside = |table, at: u64, bytes: u64| {
            let what = match at.checked_add(bytes) {
                _ if !at.is_multiple_of(self.cluster()) => "not aligned to a cluster",
                _ if at == 0 => "where the header is",
                Some(end) if end <= len => return Ok(()),
                _ => "beyond the end of the file",
            };
            Err(Refused::Table { table, what })
        };
        // An L2 table is one cluster of 8-byte entries.
        let per_l2 = self.cluster() * (self.cluster() / 8);
        if self.l1_entries > L1_MOST || u64::from(self.l1_entries) < self.size.div_ceil(per_l2) {
            return Err(Refused::Table { table: "L1 table", what: "of a size that does not fit the disk's" });
        }
        if self.l1_entries > 0 {
            inside("L1 table", self.l1_at, u64::from(self.l1_entries) * 8)?;
        }
        let bytes = u64::from(self.refcount_clusters) * self.cluster();
        if bytes == 0 || bytes > REFCOUNT_TABLE_MOST.max(self.cluster()) {
            return Err(Refused::Table { table: "refcount table", what: "empty or larger than 8 MiB" });
        }
        inside("refcount table", self.refcounts_at, bytes)
    }
}

fn check_features(incompatible: u64) -> Result<(), Refused> {
    Err(match incompatible & !DIRTY {
        0 => return Ok(()),
        bits if bits & CORRUPT != 0 => Refused::Corrupt,
        bits if bits & EXTERNAL_DATA != 0 => Refused::ExternalData,
        bits if bits & COMPRESSION_TYPE != 0 => Refused::Feature("another compression than deflate"),
        bits if bits & EXTENDED_L2 != 0 => Refused::Feature("subclusters (extended L2 entries)"),
        _ => Refused::Feature("a feature that is not known"),
    })
}

fn backing(
    fields: &Fields<'_>,
    cluster: u64,
    version: u32,
    header_length: u64,
) -> Result<Option<BackingName>, Refused> {
    let format = match version {
        // Version 2 files may have extensions, too; the library reads none.
        2 => None,
        _ => backing_format(fields, cluster, header_length)?,
    };
    let (at, bytes) = (fields.u64(8)?, fields.u32(16)?);
    if at == 0 {
        return Ok(None);
    }
    let inside = at.checked_add(u64::from(bytes)).is_some_and(|end| end < cluster);
    if bytes == 0 || bytes > NAME_MOST || !inside {
        return Err(Refused::Field("the name of the image behind it is not in the first cluster"));
    }
    let name = std::str::from_utf8(fields.bytes(at, u64::from(bytes))?)
        .map_err(|_| Refused::Field("the name of the image behind it is not text"))?;
    let format = format.ok_or_else(|| Refused::BackingFormat(name.to_owned()))?;
    let format = format.parse().map_err(|_| Refused::UnknownBacking(format))?;
    Ok(Some(BackingName { name: name.to_owned(), format }))
}

fn backing_format(fields: &Fields<'_>, cluster: u64, header_length: u64) -> Result<Option<String>, Refused> {
    let (mut at, mut found) = (header_length, None);
    loop {
        if at + 8 > cluster {
            return Err(Refused::Field("its header extensions do not end in the first cluster"));
        }
        let (kind, bytes) = (fields.u32(at)?, u64::from(fields.u32(at + 4)?));
        if kind == 0 {
            return Ok(found);
        }
        if at + 8 + bytes > cluster {
            return Err(Refused::Field("its header extensions do not end in the first cluster"));
        }
        if kind == BACKING_FORMAT {
            let name = String::from_utf8_lossy(fields.bytes(at + 8, bytes)?).into_owned();
            if found.replace(name.clone()).is_some_and(|before| before != name) {
                return Err(Refused::Field("it names two formats for the image behind it"));
            }
        }
        at += 8 + bytes.next_multiple_of(8);
    }
}

/// The beginning of a file, whose fields may lie beyond its end. All numbers are big-endian.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&self, at: u64, count: u64) -> Result<&'a [u8], Refused> {
        let range = usize::try_from(at).ok().zip(usize::try_from(count).ok());
        range.and_then(|(at, count)| self.0.get(at..at.checked_add(count)?)).ok_or(Refused::Short)
    }

    fn u32(&self, at: u64) -> Result<u32, Refused> {
        self.bytes(at, 4).map(|bytes| bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn u64(&self, at: u64) -> Result<u64, Refused> {
        Ok(u64::from(self.u32(at)?) << 32 | u64::from(self.u32(at + 4)?))
    }
}

/// Puts the dirty bit of a version 3 image up or down, durably. Version 2 has none.
///
/// # Errors
/// The host's.
pub fn set_dirty(file: &File, dirty: bool) -> io::Result<()> {
    let mut bytes = [0; 12];
    file.read_exact_at(&mut bytes[..4], 4)?;
    if bytes[..4] != 3u32.to_be_bytes() {
        return Ok(());
    }
    file.read_exact_at(&mut bytes[4..], INCOMPATIBLE_AT)?;
    // Bit 0 of a big-endian field is in its last byte.
    let byte = bytes[11] & !(DIRTY as u8) | u8::from(dirty);
    if byte != bytes[11] {
        file.write_all_at(&[byte], INCOMPATIBLE_AT + 7)?;
        file.sync_data()?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
