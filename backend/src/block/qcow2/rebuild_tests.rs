//! Counting by itself. That the image it leaves is right by qemu-img's measure, whatever was wrong with it, is in
//! `tests/mend.rs`.

use super::*;

#[test]
fn counts_of_every_width() {
    let counts = [1, 0, 1, 1, 0, 0, 0, 1, 1];
    let packed = |bits| packed(&counts, bits, 512);
    assert_eq!(packed(1)[..3], [0b1000_1101, 1, 0]);
    assert_eq!(packed(2)[..3], [0b0101_0001, 0b0100_0000, 1]);
    assert_eq!(packed(4)[..5], [0x01, 0x11, 0x00, 0x10, 0x01]);
    assert_eq!(packed(8)[..9], [1, 0, 1, 1, 0, 0, 0, 1, 1]);
    assert_eq!(packed(16)[..6], [0, 1, 0, 0, 0, 1]);
    assert_eq!(packed(32)[..8], [0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(packed(64)[..9], [0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert!([1, 2, 4, 8, 16, 32, 64].iter().all(|bits| packed(*bits).len() == 512));
}

/// An image of 512-byte clusters: header, one refcount table, an L1 table of four, and what `l1` says.
fn image(l1: [u64; 4], tables: &[(u64, u64, u64)]) -> (File, Header) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(64 << 9).unwrap();
    for (index, entry) in l1.into_iter().enumerate() {
        file.write_all_at(&entry.to_be_bytes(), (2 << 9) + index as u64 * 8).unwrap();
    }
    for (table, index, entry) in tables {
        file.write_all_at(&entry.to_be_bytes(), (table << 9) + index * 8).unwrap();
    }
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
        dirty: true,
        backing: None,
    };
    (file, header)
}

fn rebuilt(l1: [u64; 4], tables: &[(u64, u64, u64)]) -> Result<Counted, Refused> {
    let (file, header) = image(l1, tables);
    rebuild(&file, &header, 64 << 9).unwrap()
}

const fn at(cluster: u64) -> u64 {
    cluster << 9 | COPIED
}

#[test]
fn what_is_named_is_counted() {
    assert_eq!(rebuilt([0; 4], &[]), Ok(Counted { used: 2, cleared: 0 }));
    let counted =
        rebuilt([at(5), 0, 0, at(6)], &[(5, 0, at(7)), (5, 63, at(8)), (6, 1, 1), (6, 2, at(9) | 1)]);
    assert_eq!(counted, Ok(Counted { used: 7, cleared: 0 }));
}

#[test]
fn what_lies_beyond_the_end_never_got_there() {
    assert_eq!(rebuilt([at(64), 0, at(1 << 40), 0], &[]), Ok(Counted { used: 2, cleared: 2 }));
    let (file, header) = image([at(5), at(70), 0, 0], &[(5, 3, at(64)), (5, 4, at(63))]);
    assert_eq!(rebuild(&file, &header, 64 << 9).unwrap(), Ok(Counted { used: 4, cleared: 2 }));
    let mut entries = [[0; 8]; 3];
    for (entry, at) in entries.iter_mut().zip([(2 << 9) + 8, (5 << 9) + 24, (5 << 9) + 32]) {
        file.read_exact_at(entry, at).unwrap();
    }
    assert_eq!(entries.map(u64::from_be_bytes), [0, 0, at(63)]);
}

#[test]
fn what_is_used_twice_is_nobodys() {
    for (l1, tables, cluster) in [
        ([at(5), at(5), 0, 0], vec![], 5),
        ([at(2), 0, 0, 0], vec![], 2),
        ([at(5), 0, 0, 0], vec![(5, 0, at(5))], 5),
        ([at(5), 0, 0, 0], vec![(5, 0, at(9)), (5, 1, at(9))], 9),
        ([at(5), at(6), 0, 0], vec![(5, 0, at(6))], 6),
    ] {
        assert_eq!(rebuilt(l1, &tables), Err(Refused::Twice(cluster)));
    }
    // The header: an entry of offset 0 is none, so only compressed data can name it.
    assert_eq!(rebuilt([at(5), 0, 0, 0], &[(5, 0, COMPRESSED | 4)]), Ok(Counted { used: 3, cleared: 0 }));
}

#[test]
fn entries_that_cannot_be() {
    assert_eq!(rebuilt([at(5) | 2, 0, 0, 0], &[]), Err(Refused::Entry("L1 table")));
    assert_eq!(rebuilt([at(5) | 1 << 60, 0, 0, 0], &[]), Err(Refused::Entry("L1 table")));
    assert_eq!(rebuilt([at(5), 0, 0, 0], &[(5, 9, at(7) | 2)]), Err(Refused::Entry("L2 table")));
}

#[test]
fn compressed_data_shares() {
    // At 512-byte clusters an offset has 61 bits and a length one: another sector or none.
    let shared = |at: u64, more: u64| COMPRESSED | more << 61 | at;
    let tables = [(5, 0, shared(0x1400, 0)), (5, 1, shared(0x1480, 1)), (5, 2, shared(0x1620, 0))];
    assert_eq!(rebuilt([at(5), 0, 0, 0], &tables), Ok(Counted { used: 5, cleared: 0 }));
    let beyond = [(5, 0, shared(64 << 9, 0)), (5, 1, shared((63 << 9) + 8, 1))];
    assert_eq!(rebuilt([at(5), 0, 0, 0], &beyond), Ok(Counted { used: 4, cleared: 1 }));
}

#[test]
fn what_is_too_large_is_left_to_others() {
    let (file, header) = image([0; 4], &[]);
    let len = (MOST_CLUSTERS + 1) << 9;
    assert_eq!(rebuild(&file, &header, len).unwrap(), Err(Refused::TooLarge));
}
