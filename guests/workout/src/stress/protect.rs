//! A page whose protection changes all the time while others try to read and write it.

#![allow(unsafe_code)] // stores that may fault

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use nix::sys::mman::ProtFlags;

use super::{Bell, Verdict, touch};
use crate::mmap::Mapping;

/// The states in a round: in every other one the protection is being changed to that of the next.
const OPEN: u64 = 0;
const READABLE: u64 = 2;
const CLOSED: u64 = 4;
const STATES: u64 = 6;

pub fn run(bell: &Bell) -> io::Result<Verdict> {
    let page = Mapping::anonymous(1, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
    let (address, step, looks) = (page.address(), AtomicU64::new(OPEN), AtomicU64::new(0));
    thread::scope(|scope| {
        let threads = [
            scope.spawn(|| {
                watch(bell, (&step, &looks), |state| touch::load(address).is_some() == (state != CLOSED))
            }),
            scope.spawn(|| {
                // SAFETY: nobody relies on what is in the page.
                watch(bell, (&step, &looks), |state| unsafe { touch::store(address, 1) } == (state == OPEN))
            }),
        ];
        let mut changed = Ok(());
        while !bell.rang() && changed.is_ok() {
            changed = change(&page, &step);
            // Now and then until somebody has looked: they may be slow, or not have a CPU at all.
            let (now, before) = (step.load(SeqCst), looks.load(SeqCst));
            (0..now % 1000).for_each(|_| std::hint::spin_loop());
            while now.is_multiple_of(5) && looks.load(SeqCst) == before && !bell.rang() {
                thread::yield_now();
            }
        }
        let seen = threads.into_iter().map(|thread| thread.join().unwrap_or(Verdict { looks: 0, wrong: 1 }));
        changed.map(|()| seen.fold(Verdict::default(), Verdict::and))
    })
}

/// Goes on to the next state.
fn change(page: &Mapping, step: &AtomicU64) -> io::Result<()> {
    let next = step.load(SeqCst) + 2;
    step.store(next - 1, SeqCst);
    let access = match next % STATES {
        OPEN => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        READABLE => ProtFlags::PROT_READ,
        _ => ProtFlags::PROT_NONE,
    };
    let changed = page.protect(0, 1, access);
    // In any case: they wait for a state.
    step.store(next, SeqCst);
    changed
}

/// Tries again and again. What comes of it is known where the state is the same before and after.
fn watch(bell: &Bell, (step, looks): (&AtomicU64, &AtomicU64), right: impl Fn(u64) -> bool) -> Verdict {
    let mut verdict = Verdict::default();
    while !bell.rang() || verdict.looks == 0 {
        let before = step.load(SeqCst);
        let right = right(before % STATES);
        if before.is_multiple_of(2) && before == step.load(SeqCst) {
            verdict.look(right);
            looks.fetch_add(1, SeqCst);
        }
    }
    verdict
}
