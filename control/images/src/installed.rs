//! The kernel of a system that is installed on a disk: what a boot loader would load.
//!
//! The machine has no boot loader, and needs none: the kernel is read out of the disk's file system from outside. Of several
//! the newest is taken.
//!
//! All of a disk is a claim of the guest that wrote it last. Partitions lie within it (`gpt`); of the file system the numbers
//! that would make a reader allocate or go on for long are checked before the reader, which is written for such input
//! (`ext4-view`, without unsafe code), sees them: how many block groups there are, how long the journal is that it replays,
//! how large each directory on the way to a file is. No file is read that is larger than what it should be ever is, or
//! than its partition: a kernel has no holes. Symbolic links, which lead to directories that nobody has looked at, are not
//! followed. The fuzz target `systems` holds us to it.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::error::Error as StdError;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::rc::Rc;

use ext4_view::{Ext4, Ext4Error, Ext4Read, Metadata};

use crate::{Kind, gpt, kernel};

/// The largest kernel or RAM disk that is read, in bytes.
const MAX_FILE: u64 = 512 << 20;

/// Block groups of the largest file system that is read: 16 TiB of the usual ones.
const MAX_GROUPS: u64 = 1 << 17;

/// The longest journal that is replayed, in bytes: as long as `mke2fs` makes one by itself.
const MAX_JOURNAL: u64 = 1 << 30;

/// The largest directory that is searched, in bytes: ten thousand files.
const MAX_DIRECTORY: u64 = 1 << 20;

/// The largest configuration of GRUB's that is read, in bytes.
const MAX_GRUB: u64 = 1 << 20;

/// The files in a directory that are looked at.
const MAX_KERNELS: usize = 1000;

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk cannot be read.
    #[error("it cannot be read ({0})")]
    Io(#[from] io::Error),
    /// No ext4 file system, in a partition or on all of it.
    #[error("it holds no ext4 file system that could be read, in a GPT partition or on all of it")]
    NoFileSystem,
    /// No kernel in any of them.
    #[error("it holds no kernel: there is no vmlinuz-* with its initrd.img-* in /boot")]
    NoKernel,
    /// A file system that is damaged, or has what the reader does not know.
    #[error("its file system cannot be read ({0})")]
    FileSystem(#[from] Ext4Error),
    /// A file that no kernel or RAM disk would be, or a directory that none would be.
    #[error("its {0} is larger than such a file or directory should be")]
    TooLarge(String),
    /// A file that is none.
    #[error(transparent)]
    NotAKernel(#[from] Box<crate::Error>),
}

/// A kernel of an installed system.
#[derive(Debug)]
pub struct System {
    /// What follows `vmlinuz-` in its name.
    pub version: String,
    /// The kernel: a bzImage.
    pub kernel: Vec<u8>,
    /// Its initial RAM disk, as it lies there.
    pub initrd: Vec<u8>,
    /// What its boot loader would tell it: at least where the root file system is.
    pub command_line: String,
}

/// Finds the newest kernel on the disk `from`, which has `size` bytes.
///
/// # Errors
/// Why there is none.
pub fn find(from: impl Read + Seek + 'static, size: u64) -> Result<System, Error> {
    let disk = Rc::new(RefCell::new(from));
    let mut partitions = gpt::read(&mut *disk.borrow_mut(), size)?;
    if partitions.is_empty() {
        // A file system may be all there is on a disk.
        partitions.push(0..size);
    }
    let mut found = Err(Error::NoFileSystem);
    for range in partitions {
        let mut window = Window { disk: Rc::clone(&disk), range };
        if !is_sane(&mut window)? {
            continue;
        }
        let length = window.length();
        let volume = Ext4::load(Box::new(window)).map(|fs| Volume { fs, length });
        found = volume.map_err(Error::from).and_then(|volume| volume.system());
        if found.is_ok() {
            break;
        }
    }
    found
}

/// A part of a disk.
struct Window<Disk> {
    disk: Rc<RefCell<Disk>>,
    range: Range<u64>,
}

impl<Disk> Window<Disk> {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl<Disk: Read + Seek> Ext4Read for Window<Disk> {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync + 'static>> {
        let end = at.checked_add(into.len() as u64).filter(|end| *end <= self.length());
        end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let mut disk = self.disk.borrow_mut();
        disk.seek(SeekFrom::Start(self.range.start + at))?;
        Ok(disk.read_exact(into)?)
    }
}

/// Whether this is an ext4 file system that fits into its partition, with as few block groups as it should have
/// (Documentation/filesystems/ext4/super.rst).
fn is_sane(window: &mut Window<impl Read + Seek>) -> Result<bool, Error> {
    const OFFSET: u64 = 1024;
    let mut superblock = [0; 1024];
    if window.length() < OFFSET + 1024 {
        return Ok(false);
    }
    window.read(OFFSET, &mut superblock).map_err(io::Error::other)?;
    let word = |at: usize| word(&superblock, at);
    if superblock[0x38..0x3a] != [0x53, 0xef] {
        return Ok(false);
    }
    // The upper half counts with INCOMPAT_64BIT only; but the reader always takes it, and else it is zero.
    let blocks = u64::from(word(0x150)) << 32 | u64::from(word(0x04));
    let Some(block) = 1024u64.checked_shl(word(0x18)).filter(|size| *size <= 65536) else { return Ok(false) };
    let bytes = blocks.checked_mul(block);
    let groups = blocks.checked_div(word(0x20).into());
    Ok(bytes.is_some_and(|bytes| bytes <= window.length())
        && groups.is_some_and(|groups| groups < MAX_GROUPS)
        && journal(window, &superblock, block).is_some_and(|len| len <= MAX_JOURNAL.min(window.length())))
}

/// The length of the journal's file in bytes: 0 without a journal, none where its inode is nowhere (group_descr.rst, inodes.rst
/// beside the above).
fn journal(window: &mut Window<impl Read + Seek>, superblock: &[u8; 1024], block: u64) -> Option<u64> {
    let word = |at: usize| u64::from(word(superblock, at));
    let half = |at: usize| u64::from(superblock[at]) | u64::from(superblock[at + 1]) << 8;
    let has_journal = word(0x5c) & 4 != 0;
    if !has_journal {
        return Some(0);
    }
    let (inode, per_group) = (word(0xe0).checked_sub(1)?, word(0x28));
    let is_wide = word(0x60) & 0x80 != 0;
    let descriptor_len = if is_wide { half(0xfe) } else { 32 };
    let inode_len = if word(0x4c) == 0 { 128 } else { half(0x58) };
    let mut get = |at: Option<u64>| {
        let mut bytes = [0; 4];
        window.read(at?, &mut bytes).ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    let group = inode.checked_div(per_group)?;
    let descriptor = ((word(0x14) + 1) * block).checked_add(group * descriptor_len)?;
    let upper = if is_wide { get(descriptor.checked_add(0x28))? } else { 0 };
    let table = (upper << 32 | get(descriptor.checked_add(8))?).checked_mul(block)?;
    let at = table.checked_add(inode % per_group * inode_len)?;
    Some(get(at.checked_add(0x6c))? << 32 | get(at.checked_add(4))?)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

/// A file system in a partition of so many bytes.
struct Volume {
    fs: Ext4,
    length: u64,
}

/// The root of a system, or a file system that is mounted as its /boot.
const BOOT: [&str; 2] = ["/boot", "/"];

/// What a distribution calls the RAM disk of a version.
const INITRDS: [(&str, &str); 3] = [("initrd.img-", ""), ("initramfs-", ".img"), ("initramfs-", "")];

/// Where GRUB has its configuration, as seen from [`BOOT`].
const GRUB: [&str; 2] = ["grub/grub.cfg", "grub2/grub.cfg"];

impl Volume {
    fn system(&self) -> Result<System, Error> {
        for boot in BOOT {
            let Some((version, initrd)) = self.newest(boot)? else { continue };
            let path = format!("{}/vmlinuz-{version}", boot.trim_end_matches('/'));
            let kernel = self.read(&path)?;
            kernel::check(Kind::Linux, &kernel, &path).map_err(Box::new)?;
            let command_line = match self.grub(boot, &version)? {
                Some(options) => options,
                None => format!("root=UUID={} ro", self.fs.uuid()),
            };
            return Ok(System { initrd: self.read(&initrd)?, version, kernel, command_line });
        }
        Err(Error::NoKernel)
    }

    /// What is at a path, if anything is and no symbolic link on the way.
    fn find(&self, path: &str) -> Result<Option<Metadata>, Error> {
        let mut at = String::from("/");
        let mut names = path.split('/').filter(|name| !name.is_empty());
        loop {
            let found = match self.fs.symlink_metadata(&*at) {
                Ok(found) => found,
                Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let most = if found.is_dir() { MAX_DIRECTORY } else { MAX_FILE };
            if found.len() > most.min(self.length) {
                return Err(Error::TooLarge(at));
            }
            match names.next() {
                _ if found.is_symlink() => return Ok(None),
                None => return Ok(Some(found)),
                Some(_) if !found.is_dir() => return Ok(None),
                Some(name) => at = format!("{}/{name}", at.trim_end_matches('/')),
            }
        }
    }

    /// The newest version in the directory `boot` that has a RAM disk, and the path of that.
    fn newest(&self, boot: &str) -> Result<Option<(String, String)>, Error> {
        let mut newest: Option<(String, String)> = None;
        if !self.find(boot)?.is_some_and(|found| found.is_dir()) {
            return Ok(None);
        }
        for entry in self.fs.read_dir(boot)?.take(MAX_KERNELS) {
            let entry = entry?;
            let name = entry.file_name();
            let Some(version) = name.as_str().ok().and_then(|name| name.strip_prefix("vmlinuz-")) else {
                continue;
            };
            if newest.as_ref().is_some_and(|(newest, _)| by_version(version, newest).is_le()) {
                continue;
            }
            for (before, after) in INITRDS {
                let path = format!("{}/{before}{version}{after}", boot.trim_end_matches('/'));
                if self.find(&path)?.is_some() {
                    newest = Some((version.to_owned(), path));
                    break;
                }
            }
        }
        Ok(newest)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        match self.find(path)? {
            Some(_) => Ok(self.fs.read(path)?),
            None => Err(Ext4Error::NotFound.into()),
        }
    }

    /// What GRUB would tell the kernel of this version, if there is a GRUB.
    fn grub(&self, boot: &str, version: &str) -> Result<Option<String>, Error> {
        for path in GRUB.map(|path| format!("{}/{path}", boot.trim_end_matches('/'))) {
            if self.find(&path)?.is_some_and(|found| found.len() <= MAX_GRUB) {
                let text = String::from_utf8_lossy(&self.fs.read(&*path)?).into_owned();
                if let Some(options) = text.lines().find_map(|line| linux(line, version)) {
                    return Ok(Some(options));
                }
            }
        }
        Ok(None)
    }
}

/// The options in a line `linux PATH OPTIONS…` of GRUB's, if it is about this version and says where the root is. Variables of GRUB's
/// have no value here.
fn linux(line: &str, version: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|word| matches!(*word, "linux" | "linux16" | "linuxefi"))?;
    words.next().filter(|path| path.rsplit('/').next() == Some(&format!("vmlinuz-{version}")))?;
    let options: Vec<_> = words.filter(|word| !word.contains('$')).collect();
    options.iter().any(|word| word.starts_with("root=")).then(|| options.join(" "))
}

/// As people order versions: numbers by their value, what is between them by its letters.
fn by_version(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        let (words, numbers) = (run(&mut one, false), run(&mut one, true));
        let (other_words, other_numbers) = (run(&mut other, false), run(&mut other, true));
        let order = words.cmp(other_words).then_with(|| {
            // Without leading zeros the longer number is the larger one.
            let [a, b] = [numbers, other_numbers].map(trimmed);
            a.len().cmp(&b.len()).then(a.cmp(b))
        });
        if order.is_ne() || one.is_empty() && other.is_empty() {
            return order;
        }
    }
}

/// Takes what is digits, or what is not, from the front.
fn run<'a>(text: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = text.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

fn trimmed(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use uuid::Uuid;

    #[test]
    fn versions() {
        for (less, more) in [
            ("6.1.0-9-amd64", "6.1.0-10-amd64"),
            ("6.1.0-10-amd64", "6.1.0-10-cloud-amd64"),
            ("5.10.0-30-amd64", "6.1.0-9-amd64"),
            ("6.1", "6.1.1"),
            ("6.001", "6.2"),
        ] {
            assert_eq!(by_version(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(by_version(more, less), Ordering::Greater, "{less} {more}");
            assert_eq!(by_version(less, less), Ordering::Equal);
        }
    }

    #[test]
    fn what_grub_says() {
        let said = |line| linux(line, "6.1.0-9-amd64");
        let line = "\tlinux\t/boot/vmlinuz-6.1.0-9-amd64 root=PARTUUID=1-2 ro  console=tty0 $extra console=ttyS0,115200";
        assert_eq!(said(line).unwrap(), "root=PARTUUID=1-2 ro console=tty0 console=ttyS0,115200");
        assert!(said("linux /vmlinuz-6.1.0-9-amd64 root=/dev/vda2").is_some());
        for other in [
            "linux /boot/vmlinuz-6.1.0-10-amd64 root=x",
            "linux /vmlinuz-6.1.0-9-amd64 ro",
            "initrd x",
            "linux",
            "",
        ] {
            assert_eq!(said(other), None, "{other}");
        }
    }

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 4 << 20];
        gpt::write(Cursor::new(&mut disk), 4 << 20, Uuid::from_u128(1), Uuid::from_u128(2)).unwrap();
        disk
    }

    #[test]
    fn disks_without_a_system() {
        let said = |disk: Vec<u8>| {
            let size = disk.len() as u64;
            find(Cursor::new(disk), size).unwrap_err().to_string()
        };
        assert!(said(vec![]).contains("no ext4"));
        assert!(said(vec![0; 1 << 20]).contains("no ext4"));
        assert!(said(disk()).contains("no ext4"));
        // A file system of 2^32 blocks in 3 MiB is not even given to the reader.
        let mut large = disk();
        let at = gpt::START as usize + 1024;
        large[at + 0x38..at + 0x3a].copy_from_slice(&[0x53, 0xef]);
        large[at + 4..at + 8].fill(0xff);
        assert!(said(large).contains("no ext4"));
        // Nor one that is small but for an upper half that its features do not have.
        let mut wide = disk();
        wide[at + 0x38..at + 0x3a].copy_from_slice(&[0x53, 0xef]);
        wide[at + 4..at + 8].copy_from_slice(&256u32.to_le_bytes());
        wide[at + 0x20..at + 0x24].copy_from_slice(&8u32.to_le_bytes());
        wide[at + 0x150] = 1;
        assert!(said(wide).contains("no ext4"));
    }

    proptest! {
        #[test]
        fn any_superblock_is_harmless(bytes in prop::collection::vec(any::<u8>(), 1024)) {
            let mut disk = disk();
            let at = gpt::START as usize + 1024;
            disk[at..at + 1024].copy_from_slice(&bytes);
            disk[at + 0x38..at + 0x3a].copy_from_slice(&[0x53, 0xef]);
            disk[at + 0x18..at + 0x1c].copy_from_slice(&0u32.to_le_bytes());
            disk[at + 0x60..at + 0x64].copy_from_slice(&0x40u32.to_le_bytes());
            disk[at + 4..at + 8].copy_from_slice(&(u32::from(bytes[4]) * 8).to_le_bytes());
            let size = disk.len() as u64;
            let _ = find(Cursor::new(disk), size);
        }

        #[test]
        fn versions_have_an_order(a in "[a0-9.]{0,9}", b in "[a0-9.]{0,9}", c in "[a0-9.]{0,9}") {
            prop_assert_eq!(by_version(&a, &b), by_version(&b, &a).reverse());
            if by_version(&a, &b).is_le() && by_version(&b, &c).is_le() {
                prop_assert!(by_version(&a, &c).is_le());
            }
        }
    }
}
