//! The order in which tables reach the file, where the library leaves it open.
//!
//! A process may die between any two writes, and what is in the file then must be right: whatever a table names is
//! counted, and what counts it can be found. So the order has to be
//!
//! ```text
//!   refcount blocks ──► refcount table ──► L2 tables ──► L1 table
//! ```
//!
//! The library keeps blocks before L2 tables. But a new entry of the refcount table or the L1 table it writes at once,
//! when the count of the cluster that the entry names may still be in memory. An [`Order`] stands between the library
//! and the file and holds such entries back: those of the refcount table until an L2 table is about to be written (all
//! blocks are there by then), those of the L1 table until everything is flushed ([`Order::settle`]). What an entry
//! that is held back would lead to is not flushed yet, so nobody was promised it.
//!
//! Held entries are few: one for each L2 table and each refcount block that is new since the last flush.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Header, read_table};

/// Where an L1 entry points.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The fields of the header that say where the tables are: L1 size and offset, refcount offset and clusters.
const FIELDS: Range<usize> = 36..60;

/// Holds entries back.
#[derive(Debug)]
pub struct Order {
    state: Mutex<State>,
}

/// A write that is held back: where, and what.
type Held = Vec<(u64, Vec<u8>)>;

#[derive(Debug)]
struct State {
    cluster_bits: u32,
    l1: Range<u64>,
    counts: Range<u64>,
    /// Where L2 tables are, by the entries written or held.
    l2: HashSet<u64>,
    held_l1: Held,
    held_counts: Held,
}

impl Order {
    /// For an image with this header.
    ///
    /// # Errors
    /// The host's.
    pub fn new(file: &File, header: &Header) -> io::Result<Self> {
        let l1 = header.l1_at..header.l1_at + u64::from(header.l1_entries) * 8;
        let counts = u64::from(header.refcount_clusters) * header.cluster();
        let entries = read_table(file, l1.start, l1.end - l1.start)?;
        let state = State {
            cluster_bits: header.cluster_bits,
            l2: entries.into_iter().map(|entry| entry & OFFSET).filter(|table| *table != 0).collect(),
            l1,
            counts: header.refcounts_at..header.refcounts_at + counts,
            held_l1: Held::new(),
            held_counts: Held::new(),
        };
        Ok(Self { state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be written at an offset; `bytes` gives what. True if it is held back and must not be written now.
    ///
    /// # Errors
    /// The host's, where something else had to be written before.
    pub fn holds(&self, file: &File, at: u64, bytes: impl FnOnce() -> Vec<u8>) -> io::Result<bool> {
        let mut state = self.state();
        if state.l1.contains(&at) {
            let bytes = bytes();
            for entry in bytes.chunks_exact(8) {
                let table = number(entry) & OFFSET;
                state.l2.insert(table);
            }
            state.held_l1.push((at, bytes));
            return Ok(true);
        }
        if state.counts.contains(&at) {
            state.held_counts.push((at, bytes()));
            return Ok(true);
        }
        if at == 0 {
            state.header(&bytes());
        } else if state.l2.contains(&(at >> state.cluster_bits << state.cluster_bits)) {
            write(file, &mut state.held_counts)?;
        }
        Ok(false)
    }

    /// All tables were flushed: what was held back is written.
    ///
    /// # Errors
    /// The host's.
    pub fn settle(&self, file: &File) -> io::Result<()> {
        let mut state = self.state();
        write(file, &mut state.held_counts)?;
        write(file, &mut state.held_l1)
    }
}

impl State {
    /// The header is written. A table that it names somewhere new was written there as a whole, with all that is held of it.
    fn header(&mut self, bytes: &[u8]) {
        let Some(fields) = bytes.get(FIELDS) else { return };
        let [l1_entries, l1, counts, clusters] =
            [0..4, 4..12, 12..20, 20..24].map(|range| number(&fields[range]));
        let l1 = l1..l1.saturating_add(l1_entries * 8);
        let counts = counts..counts.saturating_add(clusters << self.cluster_bits);
        if l1 != self.l1 {
            self.l1 = l1;
            self.held_l1.clear();
        }
        if counts != self.counts {
            self.counts = counts;
            self.held_counts.clear();
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Writes what is held. What could not be written stays.
fn write(file: &File, held: &mut Held) -> io::Result<()> {
    for (at, bytes) in held.iter() {
        file.write_all_at(bytes, *at)?;
    }
    held.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 512-byte clusters: refcount table at 1, L1 table at 2 with one L2 table at 3.
    fn order() -> (File, Order) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 9).unwrap();
        file.write_all_at(&(3u64 << 9 | 1 << 63).to_be_bytes(), 2 << 9).unwrap();
        let header = Header {
            version: 3,
            cluster_bits: 9,
            size: 4 << 15,
            l1_at: 2 << 9,
            l1_entries: 4,
            refcounts_at: 1 << 9,
            refcount_clusters: 1,
            refcount_order: 4,
            snapshots: 0,
            dirty: false,
            backing: None,
        };
        let order = Order::new(&file, &header).unwrap();
        (file, order)
    }

    fn entry(cluster: u64) -> Vec<u8> {
        (cluster << 9 | 1 << 63).to_be_bytes().to_vec()
    }

    fn at(file: &File, offset: u64) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    #[test]
    fn counts_come_before_l2_tables_and_the_l1_table_last() {
        let (file, order) = order();
        let holds = |offset, bytes: Vec<u8>| order.holds(&file, offset, || bytes).unwrap();
        assert!(holds((1 << 9) + 8, entry(9)) && holds((2 << 9) + 8, entry(7)));
        // Data, a refcount block, an L2 table that nothing names yet.
        assert!(!holds(20 << 9, vec![1; 512]) && !holds(9 << 9, vec![1; 512]));
        assert_eq!((at(&file, (1 << 9) + 8), at(&file, (2 << 9) + 8)), (vec![0; 8], vec![0; 8]));
        // An L2 table, in the middle.
        assert!(!holds((3 << 9) + 256, vec![1; 8]));
        assert_eq!((at(&file, (1 << 9) + 8), at(&file, (2 << 9) + 8)), (entry(9), vec![0; 8]));
        // One that is named by what is held.
        assert!(holds((1 << 9) + 16, entry(10)) && !holds(7 << 9, vec![1; 512]));
        assert_eq!(at(&file, (1 << 9) + 16), entry(10));
        assert!(holds((1 << 9) + 24, entry(11)));
        order.settle(&file).unwrap();
        assert_eq!((at(&file, (1 << 9) + 24), at(&file, (2 << 9) + 8)), (entry(11), entry(7)));
    }

    #[test]
    fn tables_that_move_take_with_them_what_is_held() {
        let (file, order) = order();
        let holds = |offset, bytes: Vec<u8>| order.holds(&file, offset, || bytes).unwrap();
        assert!(holds((1 << 9) + 8, entry(9)) && holds((2 << 9) + 8, entry(7)));
        let mut header = vec![0; 72];
        header[36..40].copy_from_slice(&4u32.to_be_bytes());
        header[40..48].copy_from_slice(&(2u64 << 9).to_be_bytes());
        header[48..56].copy_from_slice(&(30u64 << 9).to_be_bytes());
        header[56..60].copy_from_slice(&2u32.to_be_bytes());
        assert!(!holds(0, header));
        assert!(!holds((1 << 9) + 8, entry(0)), "free now");
        assert!(holds(31 << 9, entry(40)));
        order.settle(&file).unwrap();
        assert_eq!((at(&file, (1 << 9) + 8), at(&file, 31 << 9)), (vec![0; 8], entry(40)));
        assert_eq!(at(&file, (2 << 9) + 8), entry(7), "this one stayed where it was");
    }
}
