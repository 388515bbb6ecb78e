//! The handler for [accesses](crate::access) that may fault, on any thread: it sees in the saved registers that the access
//! dares to, clears R11 and goes on at its end.

#![allow(unsafe_code)] // faults on purpose

use std::io;

use nix::libc::{self, c_int, c_void, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::access::DARING;
pub use crate::access::{load, store};

/// The handler is there while this lives.
pub struct Faults(SigAction);

/// Takes over the signal of page faults.
///
/// # Errors
/// That of sigaction.
pub fn install() -> io::Result<Faults> {
    let action = SigAction::new(SigHandler::SigAction(handle), SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler is async-signal-safe: it uses only the context that it is given.
    Ok(Faults(unsafe { sigaction(Signal::SIGSEGV, &action) }?))
}

impl Drop for Faults {
    fn drop(&mut self) {
        // SAFETY: what was there before. It cannot fail for a signal that exists.
        let _ = unsafe { sigaction(Signal::SIGSEGV, &self.0) };
    }
}

extern "C" fn handle(signal: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes it, alive and ours for the handler's time.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    if registers[libc::REG_R11 as usize] == DARING {
        registers[libc::REG_R11 as usize] = 0;
        registers[libc::REG_RIP as usize] = registers[libc::REG_R10 as usize];
        return;
    }
    // A mistake of this program: the default action reports it when we return to it.
    // SAFETY: restores the default action of a signal, which is async-signal-safe.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}
