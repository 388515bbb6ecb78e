//! A signal to oneself: a frame on the stack, the handler, and the way back.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use crate::workload::Round;

const SIGNALS: u64 = 1000;

static SEEN: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_: c_int) {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

pub fn start() -> io::Result<Round> {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler counts, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGUSR1, &action) }?;
    Ok(Box::new(|| {
        let before = SEEN.load(Ordering::Relaxed);
        for _ in 0..SIGNALS {
            raise(Signal::SIGUSR1)?;
        }
        Ok(SEEN.load(Ordering::Relaxed) - before)
    }))
}
