//! Counts that are to be believed: a look at the refcount table before an image is written.
//!
//! The library allocates the first cluster whose count is zero. Two things must not follow from a table that somebody
//! made up: that the header or a table is handed out as free, and that the search for a free cluster goes on for hours
//! through one full block that is named a million times. So every block is named once, lies in the file and counts
//! clusters of the file; and the clusters that all else hangs on are counted as used. All of it takes time in
//! proportion to the image.

use std::fs::File;
use std::io;

use super::{Header, Refused, read_table};

/// Looks at the counts of an image whose file has `len` bytes.
///
/// # Errors
/// The host's; and `Ok(Err(..))` is an image whose counts are not to be believed.
pub fn vet(file: &File, header: &Header, len: u64) -> io::Result<Result<(), Refused>> {
    let (cluster, bits) = (header.cluster(), 1 << header.refcount_order);
    let per_block = cluster * 8 / bits;
    let table_bytes = u64::from(header.refcount_clusters) * cluster;
    let table = read_table(file, header.refcounts_at, table_bytes)?;
    let mut blocks: Vec<u64> = table.iter().copied().filter(|block| *block != 0).collect();
    // One more than the file has clusters for: a block is written before what it counts.
    let most = len.div_ceil(cluster).div_ceil(per_block) + 1;
    let inside = blocks.iter().all(|block| block.is_multiple_of(cluster) && *block < len);
    let last = table.iter().rposition(|block| *block != 0);
    blocks.sort_unstable();
    if !inside || last.is_none_or(|last| last as u64 >= most) || blocks.windows(2).any(|two| two[0] == two[1])
    {
        return Ok(Err(Refused::Counts));
    }
    let l1 = header.l1_at..header.l1_at + u64::from(header.l1_entries) * 8;
    let counts = header.refcounts_at..header.refcounts_at + table_bytes;
    let clusters = [0..1, l1, counts].into_iter().flat_map(|range| range.step_by(cluster as usize));
    for at in clusters.chain(blocks) {
        let number = at / cluster;
        let block = table.get((number / per_block) as usize).copied().unwrap_or(0);
        if block == 0 || !is_counted(file, block, number % per_block, bits)? {
            return Ok(Err(Refused::Counts));
        }
    }
    Ok(Ok(()))
}

/// Is an entry of a refcount block, of so many bits, not zero?
fn is_counted(file: &File, block: u64, index: u64, bits: u64) -> io::Result<bool> {
    let bit = index * bits;
    let eight = read_table(file, block + bit / 64 * 8, 8)?;
    let shift = match bits {
        // Narrow counts fill a byte from its low end; bytes are in the order of the file.
        1..=8 => 56 - bit % 64 / 8 * 8 + bit % 8,
        _ => 64 - bits - bit % 64,
    };
    let mask = u64::MAX >> (64 - bits);
    Ok(eight.iter().any(|eight| eight >> shift & mask != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    /// A file of 64 clusters of 512 bytes, all counted, whose refcount table is at 1, its only block at 2, L1 table at 3.
    fn image(order: u32) -> (File, Header) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 9).unwrap();
        file.write_all_at(&(2u64 << 9).to_be_bytes(), 1 << 9).unwrap();
        file.write_all_at(&[0xff; 512], 2 << 9).unwrap();
        let header = Header {
            version: 3,
            cluster_bits: 9,
            size: 1 << 15,
            l1_at: 3 << 9,
            l1_entries: 1,
            refcounts_at: 1 << 9,
            refcount_clusters: 1,
            refcount_order: order,
            snapshots: 0,
            dirty: false,
            backing: None,
        };
        (file, header)
    }

    fn vetted(order: u32, change: impl FnOnce(&File)) -> Result<(), Refused> {
        let (file, header) = image(order);
        change(&file);
        vet(&file, &header, 64 << 9).unwrap()
    }

    #[test]
    fn good_counts_pass_at_every_width() {
        for order in 0..=6 {
            assert_eq!(vetted(order, |_| {}), Ok(()), "{order}");
        }
    }

    #[test]
    fn what_all_hangs_on_is_counted() {
        for order in 0..=6 {
            let bits = 1usize << order;
            for cluster in 0..4 {
                let mut block = [0xffu8; 512];
                for bit in cluster * bits..(cluster + 1) * bits {
                    // Narrow counts begin at a byte's low end; for wide ones all of their bytes go.
                    block[bit / 8] &= !(1 << (bit % 8));
                }
                let refused = vetted(order, |file| file.write_all_at(&block, 2 << 9).unwrap());
                assert_eq!(refused, Err(Refused::Counts), "{bits} bits, cluster {cluster}");
                let other = vetted(order, |file| {
                    file.write_all_at(&block, 2 << 9).unwrap();
                    file.write_all_at(&[0xff; 512], 2 << 9).unwrap();
                });
                assert_eq!(other, Ok(()));
            }
        }
    }

    #[test]
    fn blocks_are_named_once_and_lie_in_the_file() {
        for (index, block) in [(1, 2 << 9), (1, 64 << 9), (1, (4 << 9) + 8), (1, u64::MAX << 9), (3, 5 << 9)]
        {
            let refused = vetted(4, |file| {
                file.write_all_at(&u64::to_be_bytes(block), (1 << 9) + index * 8).unwrap();
            });
            assert_eq!(refused, Err(Refused::Counts), "entry {index}: {block:#x}");
        }
        assert_eq!(vetted(4, |file| file.write_all_at(&[0; 512], 1 << 9).unwrap()), Err(Refused::Counts));
    }
}
