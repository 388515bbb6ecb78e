//! The newc form of cpio archives, which Linux unpacks as its first root file
//! system (Documentation/driver-api/early-userspace/buffer-format.rst):
//!
//! ```text
//! archive := (header name NUL pad content pad)* trailer
//! header  := "070701" and 13 fields of 8 hexadecimal digits: ino mode uid gid nlink
//!            mtime filesize devmajor devminor rdevmajor rdevminor namesize check
//! pad     := NULs to a multiple of 4 bytes
//! trailer := an entry named TRAILER!!!
//! ```
//!
//! Written here: owner root, no times, inodes counted from 1, so that equal
//! content gives equal bytes. Read here: the same form, from anyone, without
//! hard links (which the writer never makes).

const MAGIC: &[u8; 6] = b"070701";
const HEADER: usize = 110;
const TRAILER: &str = "TRAILER!!!";

/// The type bits of [`Entry::mode`] (sys/stat.h).
pub const S_IFMT: u32 = 0o170000;
/// A directory.
pub const S_IFDIR: u32 = 0o040000;
/// A regular file.
pub const S_IFREG: u32 = 0o100000;
/// A symbolic link.
pub const S_IFLNK: u32 = 0o120000;
/// A character device.
pub const S_IFCHR: u32 = 0o020000;

/// The longest name, as the kernel has it (PATH_MAX, with the NUL).
pub const MAX_NAME: usize = 4096;

/// The most entries that are read.
pub const MAX_ENTRIES: usize = 100_000;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path, relative to the root.
    pub name: &'a str,
    /// Type and permissions, as in `stat.st_mode`.
    pub mode: u32,
    /// A file's content or a link's target.
    pub content: &'a [u8],
    /// A device's major and minor number.
    pub device: (u32, u32),
}

/// Why an archive cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the initial RAM disk is no newc archive: {what} at byte {at}")]
pub struct Error {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

/// Writes an archive. Names are at most [`MAX_NAME`]` - 1` bytes and contents
/// below 4 GiB; [`crate::Initramfs`] sees to both.
pub fn write<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    let trailer = Entry { name: TRAILER, mode: 0, content: &[], device: (0, 0) };
    for (index, entry) in entries.into_iter().chain([trailer]).enumerate() {
        let ino = if entry.name == TRAILER { 0 } else { index as u32 + 1 };
        let size = entry.content.len() as u32;
        let (major, minor) = entry.device;
        let name = entry.name.len() as u32 + 1;
        out.extend(MAGIC);
        for field in [ino, entry.mode, 0, 0, 1, 0, size, 0, 0, major, minor, name, 0] {
            out.extend(format!("{field:08x}").bytes());
        }
        out.extend(entry.name.bytes());
        out.push(0);
        pad(&mut out);
        out.extend(entry.content);
        pad(&mut out);
    }
    out
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Reads an archive up to its trailer.
pub fn read(archive: &[u8]) -> Result<Vec<Entry<'_>>, Error> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let error = |what| Error { what, at };
        let part = |from: usize, length: usize| {
            let end = from.checked_add(length).ok_or(error("impossible length"))?;
            archive.get(from..end).ok_or(error("unexpected end"))
        };
        let header = part(at, HEADER)?;
        if &header[..6] != MAGIC {
            return Err(error("no header"));
        }
        let field = |index: usize| {
            let digits = &header[6 + 8 * index..][..8];
            let digits = std::str::from_utf8(digits).map_err(|_| error("no number"))?;
            // Stricter than from_str_radix, which would take a sign.
            let hex = digits.bytes().all(|c| c.is_ascii_hexdigit());
            let value = u32::from_str_radix(digits, 16).ok().filter(|_| hex);
            value.ok_or(error("no number"))
        };
        let name_size = field(11)? as usize;
        if name_size == 0 || name_size > MAX_NAME {
            return Err(error("impossible name"));
        }
        let name_at = at + HEADER;
        let name = part(name_at, name_size)?;
        let name = name.strip_suffix(b"\0").ok_or(error("unterminated name"))?;
        let name = std::str::from_utf8(name).map_err(|_| error("a name that is not UTF-8"))?;
        if name.contains('\0') {
            return Err(error("impossible name"));
        }
        if name == TRAILER {
            return Ok(entries);
        }
        let mode = field(1)?;
        if field(4)? > 1 && mode & S_IFMT == S_IFREG {
            return Err(error("a hard link, which is not supported,"));
        }
        if entries.len() == MAX_ENTRIES {
            return Err(error("too many entries"));
        }
        let content_at = (name_at + name_size).next_multiple_of(4);
        let content = part(content_at, field(6)? as usize)?;
        entries.push(Entry { name, mode, content, device: (field(9)?, field(10)?) });
        at = (content_at + content.len()).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_of_a_small_archive() {
        let console = Entry { name: "dev/console", mode: S_IFCHR | 0o600, content: &[], device: (5, 1) };
        let archive = write([console]);
        let expected = "070701000000010000218000000000000000000000000100000000\
                        000000000000000000000000000000050000000100\
                        00000c00000000dev/console\0\0\0\
                        070701000000000000000000000000000000000000000100000000\
                        000000000000000000000000000000000000000000\
                        00000b00000000TRAILER!!!\0\0\0\0";
        assert_eq!(String::from_utf8(archive).unwrap(), expected);
    }

    #[test]
    fn bad_archives() {
        let good = write([Entry { name: "a", mode: S_IFREG, content: b"12345", device: (0, 0) }]);
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            read(&bad).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(0, b"070702").what, "no header");
        assert_eq!(with(14, b"+0000000").what, "no number");
        assert_eq!(with(54, b"ffffffff").what, "unexpected end");
        assert_eq!(with(94, b"00000000").what, "impossible name");
        assert_eq!(with(94, b"00001001").what, "impossible name");
        assert_eq!(with(111, b"b").what, "unterminated name");
        assert_eq!(with(110, b"\xff").what, "a name that is not UTF-8");
        assert_eq!(with(38, b"00000002").what, "a hard link, which is not supported,");
        for cut in 0..good.len() - 4 {
            assert!(read(&good[..cut]).is_err(), "{cut}");
        }
    }

    /// Name, mode, content, device.
    type Owned = (String, u32, Vec<u8>, (u32, u32));

    fn entries() -> impl Strategy<Value = Vec<Owned>> {
        let name = "[a-z/é]{1,40}";
        let content = prop::collection::vec(any::<u8>(), 0..50);
        prop::collection::vec((name, any::<u32>(), content, any::<(u32, u32)>()), 0..10)
    }

    proptest! {
        #[test]
        fn round_trip(entries in entries()) {
            let entries: Vec<_> = entries
                .iter()
                .map(|(name, mode, content, device)| Entry { name, mode: *mode, content, device: *device })
                .collect();
            let archive = write(entries.clone());
            prop_assert_eq!(read(&archive).unwrap(), entries);
        }

        #[test]
        fn any_bytes_are_harmless(entries in entries(), noise in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..20)) {
            let mut archive = write(entries.iter().map(|(name, mode, content, device)| {
                Entry { name, mode: *mode, content, device: *device }
            }));
            for (at, byte) in noise {
                let at = at.index(archive.len());
                archive[at] = byte;
            }
            let _ = read(&archive);
        }
    }
}
