//! A guest's messages on a real directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base::{Buffer, GuestMemory, GuestPhys};
use proptest::prelude::*;
use virtio::back::Share as _;

use super::*;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const READLINK: u32 = 5;
const SYMLINK: u32 = 6;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const UNLINK: u32 = 10;
const RMDIR: u32 = 11;
const RENAME: u32 = 12;
const LINK: u32 = 13;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const GETXATTR: u32 = 22;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const CREATE: u32 = 35;
const DESTROY: u32 = 38;
const IOCTL: u32 = 39;
const FALLOCATE: u32 = 43;
const RENAME2: u32 = 45;

const ROOT: u64 = 1;

struct Guest {
    share: Share,
    memory: Arc<GuestMemory>,
    unique: u64,
}

fn guest(path: &Path, read_only: bool) -> Guest {
    let spec = Spec { path: path.to_owned(), tag: "tag".to_owned(), read_only };
    let memory = Arc::new(GuestMemory::new(8 << 20).unwrap());
    Guest { share: Share::open(&spec).unwrap(), memory, unique: 0 }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn qword(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Guest {
    fn send(&mut self, message: &[u8], room: u64) -> Vec<u8> {
        let buffer = |at, len| {
            let mut buffer = Buffer::new(&self.memory);
            buffer.push(GuestPhys(at), len).unwrap();
            buffer
        };
        let request =
            ShareRequest { tag: 7, message: buffer(0, message.len() as u64), reply: buffer(4 << 20, room) };
        request.message.write(0, message);
        let reply = request.reply.clone();
        self.share.submit(request);
        let mut replies = Vec::new();
        let start = Instant::now();
        while replies.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "no reply");
            std::thread::yield_now();
            self.share.complete(&mut replies);
        }
        assert_eq!(replies[0].tag, 7);
        let mut bytes = vec![0; replies[0].written as usize];
        assert_eq!(reply.read(0, &mut bytes), bytes.len(), "more than there was room for");
        bytes
    }

    /// What the reply says behind its header.
    fn ask(&mut self, kind: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        self.unique += 1;
        let mut message = bytes(&[40 + body.len() as u32, kind]);
        message.extend(self.unique.to_le_bytes());
        message.extend(node.to_le_bytes());
        message.extend([0; 16]);
        message.extend(body);
        let reply = self.send(&message, (1 << 20) + 16);
        assert_eq!(reply.len() as u64, qword(&reply, 0) & 0xffff_ffff);
        assert_eq!(qword(&reply, 8), self.unique);
        match -i32::from_le_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(reply[16..].to_vec()),
            error => Err(error),
        }
    }

    fn named(&mut self, kind: u32, node: u64, head: &[u32], names: &[&str]) -> Result<Vec<u8>, i32> {
        let mut body = bytes(head);
        names.iter().for_each(|name| body.extend([name.as_bytes(), &[0]].concat()));
        self.ask(kind, node, &body)
    }

    /// The node that a name leads to.
    fn find(&mut self, node: u64, name: &str) -> Result<u64, i32> {
        self.named(LOOKUP, node, &[], &[name]).map(|entry| qword(&entry, 0))
    }

    fn create(&mut self, node: u64, name: &str, flags: i32) -> Result<(u64, u64), i32> {
        let entry = self.named(CREATE, node, &[flags as u32, 0o6755, 0, 0], &[name])?;
        Ok((qword(&entry, 0), qword(&entry, 128)))
    }

    fn open(&mut self, node: u64, flags: i32) -> Result<u64, i32> {
        self.ask(OPEN, node, &bytes(&[flags as u32, 0])).map(|open| qword(&open, 0))
    }

    fn write(&mut self, node: u64, handle: u64, offset: u32, data: &[u8]) -> Result<u64, i32> {
        let mut body = bytes(&[handle as u32, 0, offset, 0, data.len() as u32, 0, 0, 0, 0, 0]);
        body.extend(data);
        self.ask(WRITE, node, &body).map(|written| qword(&written, 0))
    }

    fn read(&mut self, node: u64, handle: u64, offset: u32, len: u32) -> Result<Vec<u8>, i32> {
        self.ask(READ, node, &bytes(&[handle as u32, 0, offset, 0, len, 0, 0, 0, 0, 0]))
    }

    fn set(&mut self, node: u64, valid: u32, change: impl FnOnce(&mut [u32; 22])) -> Result<Vec<u8>, i32> {
        let mut words = [0; 22];
        words[0] = valid;
        change(&mut words);
        self.ask(SETATTR, node, &bytes(&words))
    }

    fn list(&mut self, node: u64) -> Vec<String> {
        let handle = self.ask(OPENDIR, node, &bytes(&[0, 0])).map(|open| qword(&open, 0)).unwrap();
        let (mut names, mut offset) = (Vec::new(), 0u64);
        loop {
            let place = [offset as u32, (offset >> 32) as u32];
            let head = [handle as u32, 0, place[0], place[1], 200, 0, 0, 0, 0, 0];
            let entries = self.ask(READDIR, node, &bytes(&head)).unwrap();
            if entries.is_empty() {
                names.sort();
                return names;
            }
            let mut at = 0;
            while at < entries.len() {
                let len = qword(&entries, at + 16) as u32 as usize;
                offset = qword(&entries, at + 8);
                names.push(String::from_utf8(entries[at + 24..at + 24 + len].to_vec()).unwrap());
                at += (24 + len).next_multiple_of(8);
            }
        }
    }
}

#[test]
fn files_are_made_written_read_and_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = guest(folder.path(), false);
    let init = guest.ask(INIT, 0, &bytes(&[7, 36, 1 << 17, !(1 << 30)])).unwrap();
    assert_eq!(qword(&init, 0) as u32, 7);
    let dir = qword(&guest.named(MKDIR, ROOT, &[0o755, 0o22], &["dir"]).unwrap(), 0);
    let (file, handle) = guest.create(dir, "file", libc::O_RDWR).unwrap();
    let data: Vec<u8> = (0..1 << 20).map(|n| (n / 3) as u8).collect();
    assert_eq!(guest.write(file, handle, 5, &data), Ok(1 << 20));
    assert_eq!(guest.read(file, handle, 5, 1 << 20).unwrap(), data);
    assert_eq!(guest.read(file, handle, 1 << 20, 100).unwrap().len(), 5, "the end of the file");
    assert_eq!(fs::read(folder.path().join("dir/file")).unwrap()[5..], data);
    let attributes = guest.ask(GETATTR, file, &[0; 16]).unwrap();
    assert_eq!((qword(&attributes, 24), qword(&attributes, 84)), ((1 << 20) + 5, 0), "size; root's");
    guest.ask(FSYNC, file, &bytes(&[handle as u32, 0, 1, 0])).unwrap();
    guest.named(RENAME, dir, &[1, 0], &["file", "moved"]).unwrap();
    assert_eq!(guest.find(ROOT, "moved"), Ok(file), "it is the same file");
    assert_eq!(guest.find(dir, "file"), Err(libc::ENOENT));
    guest.named(RENAME2, ROOT, &[1, 0, 2, 0], &["moved", "dir"]).unwrap();
    assert_eq!(guest.find(ROOT, "dir"), Ok(file));
    guest.named(LINK, ROOT, &[file as u32, 0], &["linked"]).unwrap();
    assert_eq!(fs::read(folder.path().join("linked")).unwrap().len(), (1 << 20) + 5);
    // A file without a name is there as long as it is open.
    guest.named(UNLINK, ROOT, &[], &["dir"]).unwrap();
    guest.named(UNLINK, ROOT, &[], &["linked"]).unwrap();
    assert_eq!(guest.read(file, handle, 5, 3).unwrap(), data[..3]);
    assert!(guest.ask(GETATTR, file, &[0; 16]).is_ok());
    assert_eq!(guest.set(file, 8, |words| words[4] = 9).map(|set| qword(&set, 24)), Ok(9));
    let mut release = bytes(&[handle as u32, 0]);
    release.extend([0; 16]);
    guest.ask(RELEASE, file, &release).unwrap();
    assert_eq!(guest.ask(RELEASE, file, &release), Err(libc::EBADF));
    assert_eq!(guest.ask(GETATTR, file, &[0; 16]), Err(libc::ESTALE));
    guest.named(RMDIR, ROOT, &[], &["moved"]).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(qword(&guest.ask(STATFS, ROOT, &[]).unwrap(), 0) > 0);
    guest.ask(DESTROY, 0, &[]).unwrap();
    assert!(guest.list(ROOT).is_empty());
}

#[test]
fn a_directory_is_listed_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let mut names: Vec<String> =
        (0..300).map(|n| format!("{:>1$}", n, 1 + n % 60).replace(' ', "-")).collect();
    names.iter().for_each(|name| fs::write(folder.path().join(name), "").unwrap());
    names.sort();
    names.dedup();
    let mut guest = guest(folder.path(), true);
    assert_eq!(guest.list(ROOT), names);
    assert_eq!(guest.list(ROOT), names, "and again");
}

#[test]
fn nothing_leads_out() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let folder = outside.path().join("shared");
    fs::create_dir_all(folder.join("in/side")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink(outside.path().join("secret"), folder.join("out")).unwrap();
    let mut guest = guest(&folder, false);
    let inside = guest.find(ROOT, "in").unwrap();
    let side = guest.find(inside, "side").unwrap();
    for node in [ROOT, inside, side] {
        for name in ["..", ".", "", "/", "../secret", "in/side", "/etc"] {
            assert_eq!(guest.find(node, name), Err(libc::EINVAL), "{name:?}");
        }
        assert_eq!(guest.create(node, "../made", libc::O_RDWR), Err(libc::EINVAL));
        assert_eq!(guest.named(UNLINK, node, &[], &["../secret"]), Err(libc::EINVAL));
        assert_eq!(guest.named(RENAME, node, &[1, 0], &["..", "x"]), Err(libc::EINVAL));
        assert_eq!(guest.named(RENAME, node, &[1, 0], &["in", ".."]), Err(libc::EINVAL));
    }
    // A link is a link, and nobody goes where it points.
    let (up, out) = (guest.find(ROOT, "up").unwrap(), guest.find(ROOT, "out").unwrap());
    assert_eq!(guest.ask(READLINK, up, &[]).unwrap(), b"..");
    assert_eq!(guest.open(out, libc::O_RDONLY), Err(libc::EPERM));
    assert_eq!(guest.find(up, "secret"), Err(libc::ENOTDIR));
    assert_eq!(guest.create(ROOT, "out", libc::O_RDWR), Err(libc::EPERM));
    assert_eq!(guest.set(out, 8, |words| words[4] = 0), Err(libc::EPERM));
    // The host moves directories away, puts links in their place, and moves them in the midst of it.
    fs::rename(folder.join("in/side"), outside.path().join("side")).unwrap();
    assert_eq!(guest.find(side, "x"), Err(libc::ESTALE));
    assert_eq!(guest.create(side, "x", libc::O_RDWR), Err(libc::ESTALE));
    symlink(outside.path(), folder.join("in/side")).unwrap();
    assert_eq!(guest.find(side, "secret"), Err(libc::ESTALE));
    fs::rename(folder.join("in"), outside.path().join("in")).unwrap();
    symlink(outside.path(), folder.join("in")).unwrap();
    assert_eq!(guest.find(inside, "secret"), Err(libc::ESTALE));
    let there = guest.find(ROOT, "in").unwrap();
    assert_eq!(guest.find(there, "secret"), Err(libc::ENOTDIR));
    assert!(fs::read_dir(outside.path()).unwrap().count() == 4, "nothing was made outside");
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
}

/// A guest that looks for a way out while directories are swapped with links to elsewhere.
#[test]
fn no_race_leads_out() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("elsewhere")).unwrap();
    fs::write(outside.path().join("elsewhere/file"), "secret").unwrap();
    let folder = outside.path().join("shared");
    fs::create_dir_all(folder.join("dir")).unwrap();
    fs::write(folder.join("dir/file"), "shared").unwrap();
    symlink("../elsewhere", folder.join("link")).unwrap();
    let mut guest = guest(&folder, false);
    let (stop, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let [one, other] = ["dir", "link"].map(|name| folder.join(name));
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, exchange).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut read = 0;
        let start = Instant::now();
        // Many of both, but for ten seconds only; and each at least once.
        let enough = |read| match start.elapsed() < Duration::from_secs(10) {
            true => read >= 200 && swaps.load(Ordering::Relaxed) >= 200,
            false => read > 0 && swaps.load(Ordering::Relaxed) > 0,
        };
        while !enough(read) && start.elapsed() < Duration::from_secs(60) {
            let Ok(dir) = guest.find(ROOT, "dir") else { continue };
            let Ok(file) = guest.find(dir, "file") else { continue };
            let Ok(handle) = guest.open(file, libc::O_RDONLY) else { continue };
            assert_eq!(guest.read(file, handle, 0, 100).unwrap(), b"shared");
            let mut release = bytes(&[handle as u32, 0]);
            release.extend([0; 16]);
            guest.ask(RELEASE, file, &release).unwrap();
            read += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(enough(read), "{read} reads, {} swaps", swaps.load(Ordering::Relaxed));
    });
}

#[test]
fn what_may_only_be_read_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "kept").unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    let before = fs::metadata(folder.path().join("file")).unwrap();
    let mut guest = guest(folder.path(), true);
    let file = guest.find(ROOT, "file").unwrap();
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_RDONLY | libc::O_TRUNC, 3] {
        assert_eq!(guest.open(file, flags), Err(libc::EROFS), "{flags:o}");
    }
    let handle = guest.open(file, libc::O_RDONLY | libc::O_APPEND).unwrap();
    assert_eq!(guest.read(file, handle, 0, 9).unwrap(), b"kept");
    assert_eq!(guest.write(file, handle, 0, b"lost"), Err(libc::EROFS));
    assert_eq!(guest.create(ROOT, "file", libc::O_RDONLY), Err(libc::EROFS));
    assert_eq!(guest.create(ROOT, "new", libc::O_RDWR), Err(libc::EROFS));
    for valid in [1, 8, 16, 32, 128, 256] {
        assert_eq!(guest.set(file, valid, |_| ()), Err(libc::EROFS));
    }
    let no = Err(libc::EROFS);
    assert_eq!(guest.named(MKDIR, ROOT, &[0o755, 0], &["new"]), no);
    assert_eq!(guest.named(MKNOD, ROOT, &[0o100_644, 0, 0, 0], &["new"]), no);
    assert_eq!(guest.named(SYMLINK, ROOT, &[], &["new", "target"]), no);
    assert_eq!(guest.named(LINK, ROOT, &[file as u32, 0], &["new"]), no);
    assert_eq!(guest.named(UNLINK, ROOT, &[], &["file"]), no);
    assert_eq!(guest.named(RMDIR, ROOT, &[], &["dir"]), no);
    assert_eq!(guest.named(RENAME, ROOT, &[1, 0], &["file", "new"]), no);
    assert_eq!(guest.named(RENAME2, ROOT, &[1, 0, 0, 0], &["file", "new"]), no);
    assert_eq!(guest.ask(FALLOCATE, file, &bytes(&[handle as u32, 0, 0, 0, 9, 0, 0, 0])), no);
    assert_eq!(guest.list(ROOT), ["dir", "file"]);
    let after = fs::metadata(folder.path().join("file")).unwrap();
    assert_eq!(
        (before.len(), before.modified().unwrap(), before.permissions()),
        (after.len(), after.modified().unwrap(), after.permissions())
    );
}

#[test]
fn a_guest_makes_nothing_that_gives_rights() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = guest(folder.path(), false);
    let (file, handle) = guest.create(ROOT, "file", libc::O_RDWR).unwrap();
    let mode = || fs::metadata(folder.path().join("file")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode() & 0o7000, 0, "{:o}", mode());
    guest.set(file, 1, |words| words[17] = 0o106_711).unwrap();
    assert_eq!(mode(), 0o711);
    for (kind, allowed) in [(0o100_000, true), (0o010_000, true), (0o020_000, false), (0o060_000, false)] {
        let name = format!("{kind:o}");
        let made = guest.named(MKNOD, ROOT, &[kind | 0o6644, 0x103, 0, 0], &[&name]);
        assert_eq!(made.map(drop), if allowed { Ok(()) } else { Err(libc::EPERM) }, "{kind:o}");
    }
    // Whose it is can be said again, and not changed.
    guest.set(file, 2 | 4, |words| (words[19], words[20]) = (0, 0)).unwrap();
    assert_eq!(guest.set(file, 2, |words| words[19] = 77), Err(libc::EPERM));
    assert_eq!(guest.set(file, 4, |words| words[20] = 77), Err(libc::EPERM));
    // Opening a pipe would wait.
    let pipe = guest.find(ROOT, "10000").unwrap();
    assert_eq!(guest.open(pipe, libc::O_RDONLY), Err(libc::EPERM));
    assert_eq!(guest.write(file, handle, 0, b"x"), Ok(1));
    guest.set(file, 16 | 32, |words| (words[8], words[10]) = (1000, 2000)).unwrap();
    let set = fs::metadata(folder.path().join("file")).unwrap();
    assert_eq!(set.accessed().unwrap(), std::time::UNIX_EPOCH + Duration::from_secs(1000));
}

#[test]
fn what_a_guest_holds_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let mut guest = guest(folder.path(), false);
    let file = guest.find(ROOT, "file").unwrap();
    for n in 0..handles::MOST {
        guest.open(file, libc::O_RDONLY).unwrap_or_else(|error| panic!("file {n}: {error}"));
    }
    assert_eq!(guest.open(file, libc::O_RDONLY), Err(libc::ENFILE));
    assert_eq!(guest.create(ROOT, "new", libc::O_RDWR), Err(libc::ENFILE));
    assert!(!folder.path().join("new").exists());
    guest.share.reset();
    assert_eq!(guest.open(file, libc::O_RDONLY), Err(libc::ESTALE), "the guest begins anew");
    let file = guest.find(ROOT, "file").unwrap();
    guest.open(file, libc::O_RDONLY).unwrap();
}

#[test]
fn messages_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let mut guest = guest(folder.path(), false);
    let file = guest.find(ROOT, "file").unwrap();
    let handle = guest.open(file, libc::O_RDONLY).unwrap();
    for kind in [0, 7, 19, GETXATTR, 31, IOCTL, 44, 48, 49, 4096, u32::MAX] {
        assert_eq!(guest.ask(kind, ROOT, &[0; 64]), Err(libc::ENOSYS), "{kind}");
    }
    assert_eq!(guest.ask(LOOKUP, ROOT, b"no end"), Err(libc::EINVAL));
    assert_eq!(guest.ask(GETATTR, ROOT, &[]), Err(libc::EINVAL), "cut short");
    assert_eq!(guest.ask(GETATTR, 99, &[0; 16]), Err(libc::ESTALE));
    assert_eq!(guest.read(ROOT, handle, 0, 1), Err(libc::EBADF), "another's");
    assert_eq!(guest.read(file, 99, 0, 1), Err(libc::EBADF));
    assert!(guest.read(file, handle, 0, u32::MAX).is_err());
    // There is no room for the reply, or for the header.
    let mut message = bytes(&[40 + 16, GETATTR, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(guest.send(&message, 20), bytes(&[16, (-libc::EINVAL) as u32, 5, 0]));
    assert!(guest.send(&message, 15).is_empty());
    // It says that it is longer than it is, and shorter than its header.
    for len in [57, 1 << 20, u32::MAX, 39, 0] {
        message[..4].copy_from_slice(&len.to_le_bytes());
        message[4..8].copy_from_slice(&LOOKUP.to_le_bytes());
        let reply = guest.send(&message, 200);
        assert_eq!((reply.len(), qword(&reply, 8)), (16, 5), "{len}");
    }
    assert!(guest.send(&bytes(&[40, FORGET, 5, 0, 1, 0, 0, 0, 0, 0]), 200).is_empty(), "nobody waits for it");
    guest.find(ROOT, "file").unwrap();
}

#[test]
fn a_guest_goes_on_in_another_machine() {
    let [folder, copy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for path in [&folder, &copy] {
        fs::create_dir(path.path().join("dir")).unwrap();
        fs::write(path.path().join("dir/file"), "0123456789").unwrap();
    }
    let mut first = guest(folder.path(), false);
    let dir = first.find(ROOT, "dir").unwrap();
    let file = first.find(dir, "file").unwrap();
    let handle = first.open(file, libc::O_RDWR | libc::O_TRUNC).unwrap();
    assert_eq!(first.write(file, handle, 0, b"abc"), Ok(3));
    let (gone, lost) = first.create(ROOT, "gone", libc::O_RDWR).unwrap();
    let record = first.share.to_record();
    let mut second = guest(copy.path(), false);
    second.share.restore_record(&record).unwrap();
    assert_eq!(second.share.to_record(), record, "it is saved as it was restored");
    assert_eq!(second.read(file, handle, 2, 5).unwrap(), b"23456", "it is not emptied again");
    assert_eq!(second.write(file, handle, 0, b"xyz"), Ok(3));
    assert_eq!(second.find(dir, "file"), Ok(file));
    assert_eq!(second.read(gone, lost, 0, 1), Err(libc::ESTALE));
    assert!(second.create(ROOT, "new", libc::O_RDWR).unwrap().0 > gone, "no number comes twice");
    // What may only be read there is only read.
    let mut third = guest(copy.path(), true);
    third.share.restore_record(&record).unwrap();
    assert_eq!(third.read(file, handle, 0, 1), Err(libc::ESTALE));
    assert_eq!(third.find(dir, "file"), Ok(file));
    let other = Record { version: 2, ..record.clone() };
    assert!(third.share.restore_record(&other).is_err());
    for at in 0..record.payload.len() {
        for bit in 0..8 {
            let mut record = record.clone();
            record.payload[at] ^= 1 << bit;
            if third.share.restore_record(&record).is_ok() {
                let _ = (third.find(dir, "file"), third.read(file, handle, 0, 1), third.list(ROOT));
            }
        }
    }
}

#[test]
fn a_directory_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let open =
        |path: &Path| Share::open(&Spec { path: path.to_owned(), tag: "t".to_owned(), read_only: false });
    assert!(matches!(open(&folder.path().join("no")), Err(Error::Open { .. })));
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(open(&folder.path().join("file")), Err(Error::Open { .. })));
    assert!(open(folder.path()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is sent is answered within its bounds, and the next is, too.
    #[test]
    fn any_message_is_answered(messages in proptest::collection::vec((0u32..50, 0u64..6, proptest::collection::vec(any::<u8>(), 0..80)), 1..20)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        let mut guest = guest(folder.path(), false);
        guest.find(ROOT, "a").unwrap();
        for (kind, node, body) in messages {
            let mut message = bytes(&[40 + body.len() as u32, kind, 5, 0]);
            message.extend(node.to_le_bytes());
            message.extend([0; 16]);
            message.extend(body);
            guest.send(&message, 300);
        }
        prop_assert!(guest.ask(GETATTR, ROOT, &[0; 16]).is_ok());
    }
}
