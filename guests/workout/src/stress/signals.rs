//! Signals to a thread that computes: each arrives, none disturbs it.

#![allow(unsafe_code)] // signals of real time, which nix does not have

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use nix::libc::{self, c_int};

use super::{Bell, Verdict};

static ARRIVED: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

extern "C" fn count(_: c_int) {
    ARRIVED.fetch_add(1, SeqCst);
}

pub fn run(bell: &Bell) -> io::Result<Verdict> {
    // Those of real time are queued: each that could be sent arrives.
    let signal = libc::SIGRTMIN() + 5;
    // SAFETY: the handler is async-signal-safe; nobody else has this signal.
    unsafe { libc::signal(signal, count as extern "C" fn(c_int) as libc::sighandler_t) };
    ARRIVED.store(0, SeqCst);
    let right = computed();
    OVER.store(false, SeqCst);
    // A scoped thread does not tell its number.
    let worker = thread::spawn(move || {
        let mut verdict = Verdict::default();
        while !OVER.load(SeqCst) {
            verdict.look(computed() == right);
        }
        verdict
    });
    let mut sent = 0;
    loop {
        // SAFETY: the thread is not joined before.
        let result = unsafe { libc::pthread_kill(worker.as_pthread_t(), signal) };
        sent += u64::from(result == 0);
        while sent > ARRIVED.load(SeqCst) + 20 && !bell.rang() {
            thread::yield_now();
        }
        if bell.rang() {
            break;
        }
    }
    // What is on its way arrives before the thread goes on.
    while sent != ARRIVED.load(SeqCst) && !worker.is_finished() {
        thread::yield_now();
    }
    OVER.store(true, SeqCst);
    let mut verdict = worker.join().unwrap_or(Verdict { looks: 0, wrong: 1 });
    verdict.look(sent > 0 && sent == ARRIVED.load(SeqCst));
    Ok(verdict)
}

/// Something that needs all kinds of registers.
fn computed() -> u64 {
    let (mut whole, mut real) = (0x9e37_79b9_7f4a_7c15_u64, 1.0_f64);
    for round in 0..2000_u64 {
        whole = (whole ^ round).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31);
        real = (real + (whole >> 40) as f64).sqrt();
    }
    whole ^ real.to_bits()
}
