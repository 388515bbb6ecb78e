//! Counters that several threads count up at once, aligned and not.

#![allow(unsafe_code)] // locked instructions at any alignment

use std::arch::asm;
use std::io;
use std::thread;

use nix::sys::mman::ProtFlags;

use super::{Bell, Verdict};
use crate::mmap::{Mapping, PAGE};

const THREADS: u64 = 3;
/// Aligned, within a line, across lines, across pages.
const PLACES: [usize; 4] = [0x100, 0x203, 0x33c, PAGE - 5];

pub fn run(bell: &Bell) -> io::Result<Verdict> {
    let pages = Mapping::anonymous(2, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
    let start = pages.address();
    let counted: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| count(bell, start))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    let mut verdict = Verdict::default();
    for place in PLACES {
        // SAFETY: all threads have ended, and the place is in our pages.
        verdict.look(counted > 0 && unsafe { ((start + place) as *const u64).read_unaligned() } == counted);
    }
    Ok(verdict)
}

/// Adds one everywhere until the bell rings; how often.
fn count(bell: &Bell, start: usize) -> u64 {
    let mut times = 0;
    while !bell.rang() || times == 0 {
        for place in PLACES {
            // SAFETY: the place is in our pages; all threads change it by locked instructions only.
            unsafe { asm!("lock inc qword ptr [{}]", in(reg) start + place) };
        }
        times += 1;
    }
    times
}
