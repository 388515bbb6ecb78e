//! The outer wrapping of a package: a Unix ar archive as deb(5) has it.
//!
//! The format is sixty bytes a member, and deb(5) excludes everything that makes
//! ar archives hard (long names, symbol tables). The crate `ar` handles those by
//! allocating what the header claims, which a hostile file could make 10 GB.

use std::io::{self, Read, Take};

const MAGIC: &[u8; 8] = b"!<arch>\n";

/// A package has three members; more than a few are none.
const MAX_MEMBERS: usize = 16;

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Finds the first member whose name satisfies `wanted`: its name and a reader
/// of its content.
pub(crate) fn find<R: Read>(
    mut archive: R,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<Option<(String, Take<R>)>> {
    let mut magic = [0; 8];
    archive.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(bad("not an ar archive"));
    }
    for _ in 0..MAX_MEMBERS {
        let Some(header) = header(&mut archive)? else { return Ok(None) };
        // name[16] date[12] uid[6] gid[6] mode[8] size[10] end[2], padded with spaces
        if &header[58..] != b"`\n" {
            return Err(bad("a member of the ar archive has no valid header"));
        }
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range]).map_err(|_| bad("a member's header is not text"))
        };
        // dpkg writes `name`, other tools `name/`.
        let name = text(0..16)?.trim_end().trim_end_matches('/').to_owned();
        let size: u64 = text(48..58)?.trim_end().parse().map_err(|_| bad("a member has no size"))?;
        if wanted(&name) {
            return Ok(Some((name, archive.take(size))));
        }
        // Members begin at even offsets.
        let padded = size + size % 2;
        if io::copy(&mut archive.by_ref().take(padded), &mut io::sink())? != padded {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Err(bad("too many members"))
}

/// The next member's header; `None` at the end of the archive.
fn header(archive: &mut impl Read) -> io::Result<Option<[u8; 60]>> {
    let mut bytes = Vec::new();
    archive.take(60).read_to_end(&mut bytes)?;
    match bytes.len() {
        0 => Ok(None),
        _ => bytes.try_into().map(Some).map_err(|_| io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An archive of members.
    pub(crate) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (name, bytes) in members {
            let size = bytes.len();
            out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100644).bytes());
            out.extend(*bytes);
            out.extend(vec![b'\n'; size % 2]);
        }
        out
    }

    fn read(archive: &[u8], name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some((_, mut member)) = find(archive, |n| n == name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    #[test]
    fn finds_members_behind_odd_ones() {
        let archive = archive(&[("debian-binary", b"2.0"), ("x", b""), ("data.tar/", b"data")]);
        assert_eq!(read(&archive, "data.tar").unwrap().unwrap(), b"data");
        assert_eq!(read(&archive, "debian-binary").unwrap().unwrap(), b"2.0");
        assert_eq!(read(&archive, "none").unwrap(), None);
    }

    #[test]
    fn bad_archives_are_errors() {
        let good = archive(&[("a", b"12"), ("b", b"34")]);
        assert!(read(b"PK\x03\x04....", "b").is_err());
        // Cut in the magic, in a header, in what is skipped.
        for cut in [0, 4, 20, 69, 80] {
            assert!(read(&good[..cut], "b").is_err(), "{cut}");
        }
        let many = vec![("a", &b""[..]); MAX_MEMBERS + 1];
        assert!(read(&archive(&many), "b").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(tail);
            let _ = read(&bytes, "b");
        }
    }
}
