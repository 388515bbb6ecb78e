//! A guest's messages to a shared directory: as they come, and of the right form with wrong contents.
//!
//! What lies beside the directory must be as it was, whatever is asked; where the directory is to be read only, so must
//! what lies in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ::virtio::back::{Share as _, ShareRequest};
use backend::share::{Share, Spec};
use base::{Buffer, GuestMemory, GuestPhys, Saved};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target =
    Target { name: "share", about: "a guest's messages to a shared directory", longest: 2048, run, seeds };

const SECRET: &[u8] = b"not for the guest";

/// Kinds of messages that have names behind a head of so many bytes (`linux/fuse.h`), and how many names.
const NAMED: &[(u32, usize, usize)] = &[
    (1, 0, 1),
    (6, 0, 2),
    (8, 16, 1),
    (9, 8, 1),
    (10, 0, 1),
    (11, 0, 1),
    (12, 8, 2),
    (13, 8, 1),
    (35, 16, 1),
    (45, 16, 2),
];
/// Kinds with a head only.
const HEADED: &[(u32, usize)] = &[
    (2, 8),
    (3, 16),
    (4, 88),
    (5, 0),
    (14, 8),
    (15, 40),
    (16, 40),
    (17, 0),
    (18, 24),
    (20, 16),
    (25, 24),
    (26, 16),
    (27, 8),
    (28, 40),
    (29, 24),
    (38, 0),
    (42, 8),
    (43, 32),
    (46, 24),
];
const NAMES: &[&str] = &["a", "dir", "link", "up", "b", "..", ".", "", "dir/a", "/etc/passwd", "../secret"];

struct Guest {
    share: Share,
    memory: Arc<GuestMemory>,
}

impl Guest {
    fn send(&mut self, message: &[u8], room: u64) {
        let buffer = |at, len| {
            let mut buffer = Buffer::new(&self.memory);
            buffer.push(GuestPhys(at), len).expect("it is RAM");
            buffer
        };
        let request =
            ShareRequest { tag: 0, message: buffer(0, message.len() as u64), reply: buffer(0x8_0000, room) };
        request.message.write(0, message);
        self.share.submit(request);
        let mut replies = Vec::new();
        while replies.is_empty() {
            self.share.complete(&mut replies);
            std::thread::yield_now();
        }
        assert!(u64::from(replies[0].written) <= room, "there was no room for that");
    }
}

fn message(script: &mut Source<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    let kind = match script.below(8) {
        0 => {
            let len = script.below(100);
            body.extend(script.take(len));
            script.dword() % 64
        }
        1..=4 => {
            let (kind, head, names) = script.pick(NAMED);
            body.extend(numbers(script, head));
            (0..names).for_each(|_| body.extend([script.pick(NAMES).as_bytes(), &[0]].concat()));
            kind
        }
        _ => {
            let (kind, head) = script.pick(HEADED);
            body.extend(numbers(script, head));
            kind
        }
    };
    let mut message = (40 + body.len() as u32).to_le_bytes().to_vec();
    message.extend(kind.to_le_bytes());
    message.extend(7u64.to_le_bytes());
    message.extend(u64::from(script.byte() % 8).to_le_bytes());
    message.extend([0; 16]);
    message.extend(body);
    message
}

/// Small numbers, mostly: nodes, handles, offsets and lengths that there are.
fn numbers(script: &mut Source<'_>, bytes: usize) -> Vec<u8> {
    let mut numbers = Vec::new();
    while numbers.len() < bytes {
        let number = if script.once_in(6) { script.dword() } else { u32::from(script.byte() % 16) };
        numbers.extend(number.to_le_bytes());
    }
    numbers.truncate(bytes);
    numbers
}

/// All that is below, by name and contents.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.path().display().to_string();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(contents(&entry.path())),
            Ok(kind) if kind.is_file() => all.push((name, fs::read(entry.path()).unwrap_or_default())),
            _ => all.push((name, Vec::new())),
        }
    }
    all.sort();
    all
}

fn run(input: &[u8]) {
    let mut script = Source::new(input);
    let read_only = script.once_in(3);
    let outside = tempfile::tempdir().expect("the host has a file system");
    let folder = outside.path().join("shared");
    fs::create_dir_all(folder.join("dir")).expect("it is writable");
    fs::write(outside.path().join("secret"), SECRET).expect("it is writable");
    fs::write(folder.join("a"), "a file").expect("it is writable");
    fs::write(folder.join("dir/a"), "another").expect("it is writable");
    std::os::unix::fs::symlink("../secret", folder.join("link")).expect("it is writable");
    std::os::unix::fs::symlink("..", folder.join("up")).expect("it is writable");
    let before = contents(&folder);

    let spec = Spec { path: folder.clone(), tag: "tag".to_owned(), read_only };
    let open = || Share::open(&spec).expect("it is there");
    let memory = Arc::new(GuestMemory::new(1 << 20).expect("the host gives memory"));
    let mut guest = Guest { share: open(), memory };
    while !script.is_empty() {
        match script.below(20) {
            0 => {
                let len = script.below(200);
                let bytes = script.take(len).to_vec();
                guest.send(&bytes, 4096);
            }
            1 => guest.share.reset(),
            2 => {
                // It goes on in another machine as it was.
                let record = guest.share.to_record();
                guest.share = open();
                guest.share.restore_record(&record).expect("it accepts what it saved");
                assert_eq!(guest.share.to_record(), record, "restoring changes nothing");
            }
            _ => {
                let message = message(&mut script);
                let room = script.pick(&[4096, 4096, 144, 16, 15, 0, 65_536]);
                guest.send(&message, room);
            }
        }
    }
    drop(guest);
    assert_eq!(fs::read(outside.path().join("secret")).ok().as_deref(), Some(SECRET), "it was reached");
    assert_eq!(fs::read_dir(outside.path()).map(Iterator::count).ok(), Some(2), "something was made outside");
    assert!(!read_only || contents(&folder) == before, "what is only read was changed");
}

fn seeds() -> Vec<Vec<u8>> {
    // Every kind of message with small numbers, on a directory that is written, and on one that is read only.
    let noise = (0..600u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 19) as u8);
    let named = (0..NAMED.len() as u8).flat_map(|kind| {
        [9, 2, kind, 1, 1, 1, 2, 1, 3, 1, 1, 1, 2, 0, 0, 1, 0].into_iter().chain([kind % 11, 1, 0])
    });
    let mut seeds: Vec<Vec<u8>> = (0..3u8)
        .map(|first| [first].into_iter().chain(named.clone()).chain(noise.clone()).collect())
        .collect();
    seeds.push(noise.rev().collect());
    seeds
}
