//! What each thread has for itself: its variables (behind FS), its registers, its signals.

#![allow(unsafe_code)] // a signal handler

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Barrier, Mutex};
use std::thread;

use nix::libc::c_int;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::THREADS;
use crate::Scale;
use crate::generate::Generator;
use crate::report::Report;

thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
}

pub fn run(report: &mut Report, scale: &Scale) {
    let together = Barrier::new(THREADS);
    let apart = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|me| {
                let together = &together;
                scope.spawn(move || {
                    let mut apart = MINE.get() == 0;
                    MINE.set(me);
                    for round in 0..200 {
                        together.wait();
                        apart &= MINE.get() == me + round;
                        MINE.set(MINE.get() + 1);
                        thread::yield_now();
                    }
                    apart
                })
            })
            .collect();
        threads.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    report.check("variables of each thread", apart);

    // Floating point in all threads at once: the scheduler must not mix up what is in the registers.
    let alone = sum(1, 20_000 * scale.rounds);
    let alike = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| sum(1, 20_000 * scale.rounds))).collect();
        threads.into_iter().all(|thread| thread.join().is_ok_and(|sum| sum.to_bits() == alone.to_bits()))
    });
    report.value("sum", format_args!("{:016x}", alone.to_bits()));
    report.check("sums in all threads alike", alike);
    signals(report);
}

fn sum(seed: u64, count: u32) -> f64 {
    let mut generator = Generator::new(seed);
    let mut sum = 0.0;
    for _ in 0..count {
        sum = (sum + (generator.next() >> 12) as f64).sqrt() * 1.000_000_1;
    }
    sum
}

/// How many signals each thread has had.
static SIGNALS: [AtomicU32; THREADS] = [const { AtomicU32::new(0) }; THREADS];

/// Each thread signals its neighbour; every handler must run in the thread that was meant.
fn signals(report: &mut Report) {
    extern "C" fn count(_: c_int) {
        SIGNALS[MINE.get() as usize].fetch_add(1, SeqCst);
    }
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler counts, and reads a variable of its thread that needs no initialisation.
    let installed = unsafe { sigaction(Signal::SIGUSR1, &action) };
    report.check("handler for threads", installed.is_ok());
    let (started, finished) = (Barrier::new(THREADS), Barrier::new(THREADS));
    let names = Mutex::new([None; THREADS]);
    thread::scope(|scope| {
        for me in 0..THREADS {
            let (started, finished, names) = (&started, &finished, &names);
            scope.spawn(move || {
                MINE.set(me as u64);
                if let Ok(mut names) = names.lock() {
                    names[me] = Some(pthread_self());
                }
                started.wait();
                let to = (me + 1) % THREADS;
                let neighbour = names.lock().ok().and_then(|names| names[to]);
                for count in 1..=me as u32 + 1 {
                    let sent = neighbour.is_some_and(|thread| pthread_kill(thread, Signal::SIGUSR1).is_ok());
                    // Signals of one kind merge, so the next is sent when this one has been counted.
                    while sent && SIGNALS[to].load(SeqCst) < count {
                        thread::yield_now();
                    }
                }
                finished.wait();
            });
        }
    });
    let counts = SIGNALS.each_ref().map(|count| count.load(SeqCst));
    // Thread n sends n + 1 signals to thread n + 1.
    report.expect("signals to each thread", counts, [4, 1, 2, 3]);
}
