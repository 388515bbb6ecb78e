//! Headers that are accepted and headers that are not. Each begins as a good one and has one thing changed.

use super::*;

const CLUSTER: usize = 1 << 16;
const LEN: u64 = 10 << 16;

/// A version 3 image of 1 GiB with 64 KiB clusters: header, refcount table, L1 table.
fn good() -> Vec<u8> {
    let mut start = vec![0; CLUSTER];
    put32(&mut start, 0, MAGIC);
    put32(&mut start, 4, 3);
    put32(&mut start, 20, 16);
    put64(&mut start, 24, 1 << 30);
    put32(&mut start, 36, 2);
    put64(&mut start, 40, 3 << 16);
    put64(&mut start, 48, 1 << 16);
    put32(&mut start, 56, 1);
    put32(&mut start, 96, 4);
    put32(&mut start, 100, 104);
    start
}

/// With an image behind it, and the header extension for its format.
fn backed(format: Option<&str>, name: &[u8]) -> Vec<u8> {
    let mut start = good();
    if let Some(format) = format {
        put32(&mut start, 104, BACKING_FORMAT);
        put32(&mut start, 108, format.len() as u32);
        start[112..112 + format.len()].copy_from_slice(format.as_bytes());
    }
    put64(&mut start, 8, 200);
    put32(&mut start, 16, name.len() as u32);
    start[200..200 + name.len()].copy_from_slice(name);
    start
}

fn put32(start: &mut [u8], at: usize, value: u32) {
    start[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put64(start: &mut [u8], at: usize, value: u64) {
    start[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

fn with(change: impl FnOnce(&mut Vec<u8>)) -> Result<Header, Refused> {
    let mut start = good();
    change(&mut start);
    Header::parse(&start, LEN)
}

#[test]
fn a_good_one_is_accepted() {
    let header = with(|_| {}).unwrap();
    assert_eq!((header.version, header.cluster(), header.size), (3, 1 << 16, 1 << 30));
    assert_eq!((header.dirty, &header.backing), (false, &None));
    assert!(with(|start| put64(start, 72, DIRTY)).unwrap().dirty);
    let version_2 = with(|start| {
        put32(start, 4, 2);
        // Whatever stands where version 3 has its fields.
        start[72..104].fill(0xff);
    });
    assert_eq!(version_2.unwrap().refcount_order, 4);
}

#[test]
fn the_image_behind_it_has_a_name_and_a_format() {
    let header = Header::parse(&backed(Some("raw"), b"base.raw"), LEN).unwrap();
    assert_eq!(header.backing, Some(BackingName { name: "base.raw".to_owned(), format: Format::Raw }));
    let refused = |start: &[u8]| Header::parse(start, LEN).unwrap_err();
    assert_eq!(refused(&backed(None, b"base")), Refused::BackingFormat("base".to_owned()));
    assert_eq!(refused(&backed(Some("vmdk"), b"base")), Refused::UnknownBacking("vmdk".to_owned()));
    assert!(matches!(refused(&backed(Some("raw"), b"\xff")), Refused::Field(_)), "no text");
    assert!(matches!(refused(&backed(Some("raw"), b"")), Refused::Field(_)), "no name");
    let mut far = backed(Some("raw"), b"base");
    for (at, bytes) in [(CLUSTER as u64 - 2, 4), (u64::MAX, 4), (200, 1024), (200, u32::MAX)] {
        put64(&mut far, 8, at);
        put32(&mut far, 16, bytes);
        assert!(matches!(refused(&far), Refused::Field(_)), "{bytes} bytes at {at}");
    }
}

#[test]
fn formats_that_contradict_each_other() {
    let mut start = backed(Some("raw"), b"base");
    put32(&mut start, 120, BACKING_FORMAT);
    put32(&mut start, 124, 5);
    start[128..133].copy_from_slice(b"qcow2");
    assert!(matches!(Header::parse(&start, LEN), Err(Refused::Field(_))));
}

#[test]
fn extensions_end_in_the_first_cluster() {
    for bytes in [u32::MAX, CLUSTER as u32, CLUSTER as u32 - 112] {
        let result = with(|start| {
            put32(start, 104, 0x1234);
            put32(start, 108, bytes);
        });
        assert!(matches!(result, Err(Refused::Field(_))), "{bytes}");
    }
    // A chain of empty ones up to the end of the cluster.
    let endless = with(|start| start[104..].chunks_mut(8).for_each(|one| one[3] = 9));
    assert!(endless.is_err());
}

#[test]
fn whatever_else_is_wrong_is_refused() {
    use Refused::*;
    let same = |result: Result<Header, Refused>, reason: Refused| assert_eq!(result.unwrap_err(), reason);
    same(with(|start| start[0] = b'q'), Magic);
    same(with(|start| put32(start, 4, 4)), Version(4));
    same(with(|start| start.truncate(90)), Short);
    same(with(|start| start.clear()), Short);
    same(with(|start| put32(start, 32, 2)), Encrypted);
    same(with(|start| put64(start, 72, CORRUPT | DIRTY)), Corrupt);
    same(with(|start| put64(start, 72, EXTERNAL_DATA)), ExternalData);
    for bit in [COMPRESSION_TYPE, EXTENDED_L2, 1 << 5, 1 << 63] {
        assert!(matches!(with(|start| put64(start, 72, bit)), Err(Feature(_))), "{bit:#x}");
    }
    for bits in [0, 8, 22, 64, u32::MAX] {
        same(with(|start| put32(start, 20, bits)), ClusterSize(bits));
    }
    same(with(|start| put64(start, 24, u64::MAX)), Size(u64::MAX));
    assert!(matches!(with(|start| put32(start, 96, 7)), Err(Field(_))));
    for length in [0, 103, CLUSTER as u32 + 1, u32::MAX] {
        assert!(matches!(with(|start| put32(start, 100, length)), Err(Field(_))), "{length}");
    }
}

#[test]
fn tables_lie_in_the_file() {
    let table = |change: fn(&mut Vec<u8>)| {
        assert!(matches!(with(change), Err(Refused::Table { .. })));
    };
    table(|start| put32(start, 36, 1)); // too few L1 entries for 1 GiB
    table(|start| put32(start, 36, u32::MAX));
    table(|start| put32(start, 36, (4 << 20) + 1));
    table(|start| put64(start, 40, 0)); // the header
    table(|start| put64(start, 40, 512)); // not aligned
    table(|start| put64(start, 40, LEN)); // beyond the end
    table(|start| put64(start, 40, u64::MAX << 16)); // wraps
    table(|start| put64(start, 48, 0));
    table(|start| put64(start, 48, LEN));
    table(|start| put32(start, 56, 0));
    table(|start| put32(start, 56, 129)); // more than 8 MiB
    table(|start| put32(start, 56, u32::MAX));
}

#[test]
fn the_dirty_bit_goes_up_and_down_alone() {
    let file = tempfile::tempfile().unwrap();
    let mut start = good();
    put64(&mut start, 72, 0xff00);
    file.write_all_at(&start, 0).unwrap();
    let read = || {
        let mut bytes = vec![0; CLUSTER];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    set_dirty(&file, true).unwrap();
    let mut dirty = start.clone();
    dirty[79] = 1;
    assert!(read() == dirty);
    set_dirty(&file, false).unwrap();
    assert!(read() == start);
    put32(&mut start, 4, 2);
    file.write_all_at(&start, 0).unwrap();
    set_dirty(&file, true).unwrap();
    assert!(read() == start, "version 2 has none");
}
