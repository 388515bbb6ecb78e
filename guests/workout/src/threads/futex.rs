//! Futexes by the bare system call, between threads and between processes.

#![allow(unsafe_code)] // the system call, and memory shared with a child

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use super::THREADS;
use crate::Scale;
use crate::child::{self, End};
use crate::mmap::Mapping;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let word = AtomicU32::new(5);
    report.expect("wait for a value that is gone", wait(&word, 4, None), Err(Errno::EAGAIN));
    let start = Instant::now();
    report.expect("wait in vain", wait(&word, 5, Some(Duration::from_millis(20))), Err(Errno::ETIMEDOUT));
    report.check("for as long as asked", start.elapsed() >= Duration::from_millis(20));
    report.expect("wake nobody", wake(&word, 10), Ok(0));
    sleepers(report);

    // Two threads take turns; each turn is one wait and one wake.
    let turns = 1000 * scale.rounds;
    let turn = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| take_turns(&turn, 0, turns));
        scope.spawn(|| take_turns(&turn, 1, turns));
    });
    report.check("turns of threads", turn.load(SeqCst) == 2 * turns);

    let page = Mapping::anonymous_shared(1)?;
    // SAFETY: the page is zeros, aligned, and lives as long as the mapping; both processes use it by atomics
    // only.
    let (turn, total) =
        unsafe { (&*(page.address() as *const AtomicU32), &*((page.address() + 8) as *const AtomicU64)) };
    let child = child::start(|| {
        take_turns(turn, 1, turns);
        total.fetch_add(1000, SeqCst);
        0
    })?;
    take_turns(turn, 0, turns);
    total.fetch_add(1, SeqCst);
    report.expect(
        "turns of processes",
        (turn.load(SeqCst) >= 2 * turns - 1, child::wait(child)?),
        (true, End::Code(0)),
    );
    report.expect("both were there", total.load(SeqCst), 1001);

    lock(report, scale);
    Ok(())
}

/// Wakes sleepers some at a time and counts them.
fn sleepers(report: &mut Report) {
    let (word, awake) = (AtomicU32::new(0), AtomicU32::new(0));
    let woken = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                // Until woken; a signal or an early start is no wake.
                while wait(&word, 0, None) == Err(Errno::EINTR) {}
                awake.fetch_add(1, SeqCst);
            });
        }
        // All are asleep when all have been woken: one that is not yet is found by the next call.
        let mut woken = 0;
        while woken < THREADS {
            let now = wake(&word, 1).unwrap_or(0);
            woken += now;
            if now == 0 {
                thread::yield_now();
            }
        }
        woken
    });
    report.expect("sleepers woken", (woken, awake.load(SeqCst)), (THREADS, THREADS as u32));
}

fn take_turns(turn: &AtomicU32, parity: u32, turns: u32) {
    for _ in 0..turns {
        loop {
            let now = turn.load(SeqCst);
            if now % 2 == parity {
                break;
            }
            let _ = wait(turn, now, None);
        }
        turn.fetch_add(1, SeqCst);
        let _ = wake(turn, 1);
    }
}

/// A lock of three states as in Drepper's "Futexes are tricky", under contention.
fn lock(report: &mut Report, scale: &Scale) {
    let state = AtomicU32::new(0);
    // Two halves that only the holder of the lock changes, by separate loads and stores.
    let (low, high) = (AtomicU64::new(0), AtomicU64::new(0));
    let rounds = 3000 * u64::from(scale.rounds);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..rounds {
                    if state.compare_exchange(0, 1, SeqCst, SeqCst).is_err() {
                        while state.swap(2, SeqCst) != 0 {
                            let _ = wait(&state, 2, None);
                        }
                    }
                    low.store(low.load(SeqCst) + 1, SeqCst);
                    high.store(high.load(SeqCst) + 2, SeqCst);
                    if state.swap(0, SeqCst) == 2 {
                        let _ = wake(&state, 1);
                    }
                }
            });
        }
    });
    let all = rounds * THREADS as u64;
    report.expect("a lock of our own", (low.load(SeqCst) == all, high.load(SeqCst) == 2 * all), (true, true));
}

/// Sleeps while the word has the value.
fn wait(word: &AtomicU32, value: u32, timeout: Option<Duration>) -> Result<(), Errno> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().cast_signed(),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word and the timeout live across the call, which reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, timeout) })
        .map(drop)
}

/// Wakes at most so many; returns how many.
fn wake(word: &AtomicU32, count: i32) -> Result<usize, Errno> {
    // SAFETY: the word lives across the call, which uses its address only.
    let woken =
        Errno::result(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) })?;
    Ok(woken as usize)
}
