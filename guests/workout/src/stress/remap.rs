//! Pages that are replaced by others, or emptied, while others read them: once that is done nobody may see
//! what was there before.

#![allow(unsafe_code)] // a page that others map elsewhere

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::ProtFlags;
use nix::unistd::ftruncate;

use super::{Bell, Verdict, touch};
use crate::mmap::{Mapping, PAGE};

/// Pages of the file that take turns; each holds its number.
const PAGES: u64 = 64;
/// Threads that read.
const READERS: usize = 2;

pub fn run(bell: &Bell) -> io::Result<Verdict> {
    let file = memfd_create("stress", MFdFlags::MFD_CLOEXEC)?;
    ftruncate(&file, PAGES as i64 * PAGE as i64)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let all = Mapping::shared(file.as_fd(), PAGES as usize, access)?;
    for page in 0..PAGES {
        // SAFETY: ours alone as yet.
        let bytes = unsafe { all.slice(page as usize, 1) };
        bytes[..8].copy_from_slice(&page.to_le_bytes());
    }
    let (window, emptied) = (Mapping::anonymous(1, access)?, Mapping::anonymous(1, access)?);
    window.overlay_file(0, file.as_fd(), 0, 1)?;
    // A round begins when it is announced and is over when it is done.
    let (announced, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (at, empty) = (window.address(), emptied.address());
    let look = || {
        let mut verdict = Verdict::default();
        while !bell.rang() || verdict.looks == 0 {
            let before = done.load(SeqCst);
            let (page, number) = (touch::load(at), touch::load(empty));
            let after = announced.load(SeqCst);
            // Some round's page, of those that can have been there meanwhile.
            verdict.look(page.is_some_and(|page| (page + PAGES - before % PAGES) % PAGES <= after - before));
            // What was stored after the last time that it is known to have been emptied, or nothing.
            verdict.look(number.is_some_and(|number| number == 0 || before < number && number <= after));
        }
        verdict
    };
    thread::scope(|scope| {
        let threads = [(); READERS].map(|()| scope.spawn(look));
        let mut changed = Ok(());
        while !bell.rang() && changed.is_ok() {
            let round = announced.fetch_add(1, SeqCst) + 1;
            // SAFETY: the page is ours; others only load from it.
            unsafe { touch::store(empty, round) };
            changed = emptied
                .advise(libc::MADV_DONTNEED)
                .and_then(|()| window.overlay_file(0, file.as_fd(), (round % PAGES) as usize, 1));
            done.store(round, SeqCst);
        }
        let seen = threads.into_iter().map(|thread| thread.join().unwrap_or(Verdict { looks: 0, wrong: 1 }));
        changed.map(|()| seen.fold(Verdict::default(), Verdict::and))
    })
}
