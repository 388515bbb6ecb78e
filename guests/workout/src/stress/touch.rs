//! Loads and stores that may fault, on any thread.
//!
//! An access that dares to fault says so by a number in R11 and by the address of its end in R10; the handler sees that in the saved
//! registers, clears R11 and goes on at the end. So it keeps nothing, and many threads may fault at once.

#![allow(unsafe_code)] // faults on purpose

use std::arch::asm;
use std::io;

use nix::libc::{self, c_int, c_void, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

const DARING: i64 = 0x5afe_7070_5afe_7070;

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

/// Reads eight bytes; `None` where that faults.
pub fn load(address: usize) -> Option<u64> {
    let (mut value, mut daring) = (0_u64, DARING);
    // SAFETY: a load changes nothing, and a fault of it ends at the label.
    unsafe {
        asm!(
            "lea r10, [rip + 2f]",
            "mov {value}, qword ptr [{address}]",
            "2:",
            address = in(reg) address,
            value = inout(reg) value,
            out("r10") _,
            inout("r11") daring,
        );
    }
    (daring == DARING).then_some(value)
}

/// Writes eight bytes; false where that faults.
///
/// # Safety
/// If the address is mapped for writing, nobody relies on what is there.
pub unsafe fn store(address: usize, value: u64) -> bool {
    let mut daring = DARING;
    // SAFETY: as the caller promises; a fault ends at the label.
    unsafe {
        asm!(
            "lea r10, [rip + 2f]",
            "mov qword ptr [{address}], {value}",
            "2:",
            address = in(reg) address,
            value = in(reg) value,
            out("r10") _,
            inout("r11") daring,
        );
    }
    daring == DARING
}
