//! Two processes on one CPU that take turns: whose turn it is not, yields.
//!
//! The turn is a word that both see, so each turn takes a switch from one address space to the other, whatever the
//! kernel's scheduler makes of yielding.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity, sched_yield};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::unistd::Pid;

use super::Child;
use crate::workload::Round;

const TURNS: u64 = 500;

/// A word that this process and its children share, for the rest of its life.
fn shared() -> io::Result<&'static AtomicU32> {
    let length = NonZeroUsize::new(4096).unwrap();
    // SAFETY: a new mapping, zero, aligned to a page and never unmapped.
    unsafe {
        let start =
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)?;
        Ok(start.cast::<AtomicU32>().as_ref())
    }
}

/// Waits for turn `number` and gives it on.
fn take(turn: &AtomicU32, number: u32) {
    while turn.load(Ordering::Acquire) != number {
        let _ = sched_yield();
    }
    turn.store(1 - number, Ordering::Release);
}

pub fn start() -> io::Result<Round> {
    let turn = shared()?;
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &here)?;
    // Their turn is 1. They wait for the next by sleeping in between rounds, as these are short.
    let child = Child::start(|| {
        // SAFETY: has the kernel kill this process with its parent, which may be killed itself.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            take(turn, 1);
        }
    })?;
    Ok(Box::new(move || {
        for _ in 0..TURNS {
            take(turn, 0);
        }
        let _alive = &child;
        Ok(TURNS)
    }))
}
