//! Two threads that wake each other by futexes.

use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::libc;

use crate::workload::Round;

const TURNS: u32 = 300;

/// The word is even: ours is the turn; odd: theirs.
fn wait_while(word: &AtomicU32, theirs: bool) -> u32 {
    loop {
        let now = word.load(Ordering::Acquire);
        if (now % 2 == 1) != theirs {
            return now;
        }
        // SAFETY: the word is alive and aligned; without a timeout the other arguments are not looked at.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                now,
                ptr::null::<libc::timespec>(),
            )
        };
    }
}

/// Gives the turn on.
fn pass(word: &AtomicU32, now: u32) {
    word.store(now.wrapping_add(1), Ordering::Release);
    // SAFETY: the word is alive and aligned.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}

/// The other thread lives as long as a round: what forks must find one thread only, and its start is short beside it.
pub fn start() -> io::Result<Round> {
    Ok(Box::new(|| {
        let word = Arc::new(AtomicU32::new(0));
        let shared = Arc::clone(&word);
        let other = thread::Builder::new().spawn(move || {
            for _ in 0..TURNS {
                let now = wait_while(&shared, false);
                pass(&shared, now);
            }
        })?;
        for _ in 0..TURNS {
            let now = wait_while(&word, true);
            pass(&word, now);
        }
        other.join().map_err(|_| io::Error::other("the other thread panicked"))?;
        Ok(u64::from(word.load(Ordering::Relaxed)))
    }))
}
