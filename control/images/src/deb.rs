//! Files out of a Debian package (deb(5)): an ar archive, in it a compressed tar.
//!
//! A package is streamed and only the files asked for are ever in memory. What is read
//! comes from outside, so everything is bounded: members, tar entries, the
//! payload's unpacked length, the file's length, the decompressors' windows. No
//! path of the archive is ever used as a path here; it is only compared.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use crate::ar;

/// The largest file that is taken out of a package.
pub const MAX_FILE: u64 = 256 << 20;

/// How far the unpacked payload is read in search of a file.
const MAX_PAYLOAD: u64 = 4 << 30;

/// How many tar entries are looked at: ten times the largest kernel package.
const MAX_ENTRIES: usize = 100_000;

/// Memory for xz's window, in KiB: `xz -9` needs 64 MiB.
pub(crate) const MAX_XZ_MEMORY: u32 = 100 << 10;

/// Why a package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The wrapping, the compression or the tar archive is broken.
    #[error("it is damaged ({0})")]
    Damaged(#[from] io::Error),
    /// No member holds files.
    #[error("it is not a Debian package (no `data.tar`)")]
    NoData,
    /// An unknown compression.
    #[error("its payload `{0}` is compressed in a way unknown here")]
    Compression(String),
    /// More than a sane package holds.
    #[error("it is larger than any package should be (over {0})")]
    TooLarge(&'static str),
}

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path in the package, without a leading `./`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A member of a package's payload.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// Its path, without a leading `./` or a slash at the end; empty for the root.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its user and group.
    pub owner: (u64, u64),
    /// When it was changed, in seconds since 1970.
    pub modified: u64,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a member is.
pub(crate) enum Kind<'a> {
    Directory,
    File { size: u64, content: &'a mut dyn Read },
    Symlink { target: String },
    HardLink { target: String },
}

impl std::fmt::Debug for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory => write!(f, "directory"),
            Self::File { size, .. } => write!(f, "file of {size} bytes"),
            Self::Symlink { target } => write!(f, "link to {target}"),
            Self::HardLink { target } => write!(f, "other name of {target}"),
        }
    }
}

/// Gives `take` each member of the package's payload, in order. Devices and the like, which no package has, are errors.
pub(crate) fn entries(
    package: impl Read,
    mut take: impl FnMut(Entry<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (name, data) = ar::find(package, |name| name.starts_with("data.tar"))?.ok_or(Error::NoData)?;
    let tar = decompress(&name, data)?;
    let mut archive = tar::Archive::new(tar.take(MAX_PAYLOAD));
    // GNU tar has names that are longer than a header's field in members of their own, before the one they are for.
    let (mut long_path, mut long_target) = (None, None);
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        if count == MAX_ENTRIES {
            return Err(Error::TooLarge("100000 entries"));
        }
        let mut entry = entry?;
        let header = entry.header().clone();
        let (size, kind) = (entry.size(), header.entry_type());
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            let place = if kind.is_gnu_longname() { &mut long_path } else { &mut long_target };
            *place = Some(long_name(&mut entry, size)?);
            continue;
        }
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| bad("a name that is no text"));
        let path = match long_path.take() {
            Some(path) => path,
            None => text(&header.path_bytes())?,
        };
        let target = match (long_target.take(), header.link_name_bytes()) {
            (Some(target), _) => target,
            (None, Some(target)) => text(&target)?,
            (None, None) => String::new(),
        };
        let kind = match kind {
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() => Kind::File { size, content: &mut entry },
            kind if kind.is_symlink() => Kind::Symlink { target },
            kind if kind.is_hard_link() => Kind::HardLink { target: plain(&target)? },
            _ => return Err(bad("a member that is no file, directory or link").into()),
        };
        let owner = (header.uid()?, header.gid()?);
        let (mode, modified) = (header.mode()? & 0o7777, header.mtime()?);
        take(Entry { path: plain(&path)?, mode, owner, modified, kind })?;
    }
    Ok(())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn long_name(entry: &mut impl Read, size: u64) -> io::Result<String> {
    // PATH_MAX
    if size > 4096 {
        return Err(bad("a name longer than any path"));
    }
    let mut name = vec![];
    entry.take(size).read_to_end(&mut name)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    String::from_utf8(name).map_err(|_| bad("a name that is no text"))
}

/// The path in the form of [`Entry::path`].
fn plain(path: &str) -> io::Result<String> {
    let path = path.strip_prefix('.').filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    let path = path.trim_matches('/');
    match path.split('/').any(|part| part == "..") {
        true => Err(bad("a path that leads out of the package")),
        false => Ok(path.to_owned()),
    }
}

/// The first regular file of the package whose path (as `boot/vmlinuz-6.1`,
/// without a leading `./`) satisfies `wanted`. What comes after it is not read.
pub fn find(package: impl Read, wanted: impl Fn(&str) -> bool) -> Result<Option<File>, Error> {
    let mut found = None;
    visit(package, wanted, |file| {
        found = Some(file);
        Ok(false)
    })?;
    Ok(found)
}

/// All regular files of the package whose paths satisfy `wanted`, together no larger than one file may be.
pub fn find_all(package: impl Read, wanted: impl Fn(&str) -> bool) -> Result<Vec<File>, Error> {
    let (mut found, mut total) = (Vec::new(), 0);
    visit(package, wanted, |file| {
        total += file.bytes.len() as u64;
        found.push(file);
        if total > MAX_FILE { Err(Error::TooLarge("256 MiB in its files")) } else { Ok(true) }
    })?;
    Ok(found)
}

/// Gives `take` each regular file whose path satisfies `wanted`, until it has enough.
fn visit(
    package: impl Read,
    wanted: impl Fn(&str) -> bool,
    mut take: impl FnMut(File) -> Result<bool, Error>,
) -> Result<(), Error> {
    let (name, data) = ar::find(package, |name| name.starts_with("data.tar"))?.ok_or(Error::NoData)?;
    let tar = decompress(&name, data)?;
    let mut archive = tar::Archive::new(tar.take(MAX_PAYLOAD));
    let mut extended = false;
    // Raw: otherwise a long name would be read into memory, however long. The
    // files wanted here have short ones, so an entry with extensions is passed over.
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        if count == MAX_ENTRIES {
            return Err(Error::TooLarge("100000 entries"));
        }
        let entry = entry?;
        let kind = entry.header().entry_type();
        let extension = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        let passed_over = std::mem::replace(&mut extended, extension);
        if passed_over || !kind.is_file() {
            continue;
        }
        let path = entry.path_bytes();
        let Ok(path) = std::str::from_utf8(&path) else { continue };
        let path = path.trim_start_matches("./").to_owned();
        if wanted(&path) {
            let size = entry.size();
            if size > MAX_FILE {
                return Err(Error::TooLarge("256 MiB in a file"));
            }
            let mut bytes = Vec::new();
            entry.take(size).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != size {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if !take(File { path, bytes })? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn decompress<'a>(name: &str, data: impl Read + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    Ok(match name {
        "data.tar" => Box::new(data),
        "data.tar.gz" => Box::new(MultiGzDecoder::new(data)),
        "data.tar.xz" => Box::new(XzReader::new_mem_limit(data, true, MAX_XZ_MEMORY)),
        "data.tar.zst" => {
            let zstd = StreamingDecoder::new(data).map_err(io::Error::other)?;
            Box::new(zstd)
        }
        _ => return Err(Error::Compression(name.to_owned())),
    })
}

/// Unpacks a gzip file of at most [`MAX_FILE`] bytes unpacked.
pub fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    gunzip_bounded(bytes, MAX_FILE)
}

fn gunzip_bounded(bytes: &[u8], most: u64) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes).take(most + 1).read_to_end(&mut out)?;
    if out.len() as u64 > most { Err(Error::TooLarge("256 MiB in a file")) } else { Ok(out) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ar::tests::archive;
    use proptest::prelude::*;
    use std::io::Write;

    /// As dpkg-deb fills one in.
    fn filled_in() -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_mode(0o755);
        header.set_size(0);
        header
    }

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = filled_in();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), Default::default()).unwrap();
        xz.write_all(bytes).unwrap();
        xz.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn wrap(name: &str, data: &[u8]) -> Vec<u8> {
        archive(&[("debian-binary", b"2.0\n"), ("control.tar", b"?"), (name, data)])
    }

    /// A package that holds these files.
    pub(crate) fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
        wrap("data.tar.xz", &xz(&tar_of(files)))
    }

    #[test]
    fn every_compression() {
        let kernel = vec![7; 70_000];
        let tar = tar_of(&[("./boot/config-6.1", b"x"), ("./boot/vmlinuz-6.1", &kernel)]);
        let forms = [("", tar.clone()), (".gz", gzip(&tar)), (".xz", xz(&tar)), (".zst", zstd(&tar))];
        for (suffix, data) in forms {
            let deb = wrap(&format!("data.tar{suffix}"), &data);
            let file = find(&deb[..], |path| path.starts_with("boot/vmlinuz-")).unwrap().unwrap();
            assert_eq!(file.path, "boot/vmlinuz-6.1", "{suffix}");
            assert!(file.bytes == kernel, "{suffix}");
            assert!(find(&deb[..], |path| path == "bin/busybox").unwrap().is_none());
            let all = find_all(&deb[..], |path| path.starts_with("boot/")).unwrap();
            let paths: Vec<_> = all.iter().map(|file| &*file.path).collect();
            assert_eq!(paths, ["boot/config-6.1", "boot/vmlinuz-6.1"], "{suffix}");
        }
    }

    #[test]
    fn every_member_with_its_own_name() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = filled_in();
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, "./usr/", io::empty()).unwrap();
        let mut header = filled_in();
        header.set_mode(0o4755);
        header.set_size(2);
        header.set_uid(7);
        let long = format!("./usr/{}", "y".repeat(200));
        tar.append_data(&mut header, &long, &b"su"[..]).unwrap();
        let mut header = filled_in();
        header.set_entry_type(tar::EntryType::Link);
        tar.append_link(&mut header, "./usr/again", &long).unwrap();
        let deb = wrap("data.tar", &tar.into_inner().unwrap());
        let mut seen = vec![];
        entries(&deb[..], |entry| {
            let Entry { path, mode, owner, kind, .. } = entry;
            seen.push(format!("{} {mode:o} {} {kind:?}", &path[..path.len().min(9)], owner.0));
            Ok(())
        })
        .unwrap();
        let other = format!("usr/again 755 0 other name of {}", &long[2..]);
        assert_eq!(seen, ["usr 755 0 directory", "usr/yyyyy 4755 7 file of 2 bytes", &other]);
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        assert_eq!(plain("./").unwrap(), "");
        assert_eq!(plain("./.hidden/x/").unwrap(), ".hidden/x");
        assert!(plain("./a/../../b").is_err());
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Fifo);
        header.set_size(0);
        tar.append_data(&mut header, "pipe", io::empty()).unwrap();
        let deb = wrap("data.tar", &tar.into_inner().unwrap());
        assert!(entries(&deb[..], |_| Ok(())).is_err());
    }

    #[test]
    fn only_regular_files_under_their_own_name() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "bin/busybox", "/etc/shadow").unwrap();
        // A long name: an extension entry, then one whose header has it cut short.
        let long = format!("bin/busybox{}", "x".repeat(200));
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        tar.append_data(&mut header, &long, &b"bad"[..]).unwrap();
        let deb = wrap("data.tar", &tar.into_inner().unwrap());
        assert!(find(&deb[..], |path| path.starts_with("bin/busybox")).unwrap().is_none());
    }

    #[test]
    fn not_packages() {
        assert!(matches!(find(&archive(&[])[..], |_| true), Err(Error::NoData)));
        let bz2 = wrap("data.tar.bz2", b"BZh9");
        assert!(matches!(find(&bz2[..], |_| true), Err(Error::Compression(_))));
        assert!(matches!(find(&b"\x7fELF"[..], |_| true), Err(Error::Damaged(_))));
    }

    #[test]
    fn cut_short_anywhere_is_damage() {
        let deb = package(&[("boot/vmlinuz", &(0..=255).cycle().take(3000).collect::<Vec<u8>>())]);
        // The last bytes are xz's index and the second block of tar's end.
        for cut in (0..deb.len() - 100).step_by(7) {
            let found = find(&deb[..cut], |path| path == "boot/vmlinuz");
            assert!(!matches!(found, Ok(Some(_))), "{cut}");
        }
    }

    #[test]
    fn a_file_too_large_is_refused_unread() {
        let mut header = tar::Header::new_gnu();
        header.set_path("boot/vmlinuz").unwrap();
        header.set_size(MAX_FILE + 1);
        header.set_cksum();
        let deb = wrap("data.tar", header.as_bytes());
        assert!(matches!(find(&deb[..], |_| true), Err(Error::TooLarge(_))));
    }

    #[test]
    fn gunzips_and_gives_up_on_bombs() {
        assert_eq!(gunzip(&gzip(b"mach")).unwrap(), b"mach");
        assert!(gunzip(b"mach").is_err());
        let bomb = gzip(&vec![0; 100_001]);
        assert_eq!(gunzip_bounded(&bomb, 100_001).unwrap().len(), 100_001);
        assert!(matches!(gunzip_bounded(&bomb, 100_000), Err(Error::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn any_payload_is_harmless(
            suffix in prop::sample::select(vec!["", ".gz", ".xz", ".zst"]),
            data in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let _ = find(&wrap(&format!("data.tar{suffix}"), &data)[..], |_| true);
        }

        #[test]
        fn flipped_bits_are_harmless(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut deb = package(&[("boot/vmlinuz", &[1; 300]), ("bin/sh", b"sh")]);
            let at = at.index(deb.len());
            deb[at] ^= 1 << bit;
            let _ = find(&deb[..], |path| path == "bin/sh");
        }
    }
}
