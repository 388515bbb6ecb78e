//! Handlers on a stack of their own, without which an overflow of the stack could not be handled at all.

#![allow(unsafe_code)] // signal stacks

use std::hint::black_box;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use nix::libc::{self, c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use crate::child::{self, End};
use crate::report::Report;

const SIZE: usize = 64 << 10;

/// An address in the last handler's frame.
static FRAME: AtomicUsize = AtomicUsize::new(0);

pub fn run(report: &mut Report) -> io::Result<()> {
    let mut stack = vec![0_u8; SIZE];
    let range = stack.as_ptr() as usize..stack.as_ptr() as usize + SIZE;
    use_stack(stack.as_mut_ptr(), 0)?;
    handle(Signal::SIGUSR1, note_frame, SaFlags::SA_ONSTACK)?;
    raise(Signal::SIGUSR1)?;
    report.check("handler on its own stack", range.contains(&FRAME.load(SeqCst)));
    handle(Signal::SIGUSR1, note_frame, SaFlags::empty())?;
    raise(Signal::SIGUSR1)?;
    report.check("handler on the ordinary stack", !range.contains(&FRAME.load(SeqCst)));

    let overflow = child::run(|| {
        let ready = handle(Signal::SIGSEGV, leave, SaFlags::SA_ONSTACK);
        i32::from(ready.is_err()) + descend(1) as i32
    })?;
    report.expect("overflow, handled", overflow, End::Code(42));
    use_stack(ptr::null_mut(), libc::SS_DISABLE)?;
    let overflow = child::run(|| {
        let ready = handle(Signal::SIGSEGV, leave, SaFlags::SA_ONSTACK);
        i32::from(ready.is_err()) + descend(1) as i32
    })?;
    report.expect("overflow, nowhere to handle it", overflow, End::Signal(libc::SIGSEGV));
    crate::trap::install()
}

/// Runs handlers that ask for it on the given stack from now on.
fn use_stack(start: *mut u8, flags: c_int) -> io::Result<()> {
    let stack = libc::stack_t { ss_sp: start.cast::<c_void>(), ss_flags: flags, ss_size: SIZE };
    // SAFETY: `stack` lives across the call; what it names lives until it is disabled.
    if unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn handle(
    signal: Signal,
    handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
    flags: SaFlags,
) -> io::Result<()> {
    let action = SigAction::new(SigHandler::SigAction(handler), flags | SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handlers are async-signal-safe: an atomic store, and _exit.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn note_frame(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    let here = 0_u8;
    FRAME.store(black_box(&raw const here) as usize, SeqCst);
}

extern "C" fn leave(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(42) }
}

/// Calls itself until there is no more stack.
#[expect(unconditional_recursion)]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    descend(frame[0] + 1) + black_box(frame)[63]
}
