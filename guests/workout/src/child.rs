//! A function in a process of its own.

#![allow(unsafe_code)] // fork

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// Starts a process that is a copy of this one, runs `body` and exits with its result, without any of the
/// things that an exit usually does. A panic is code 101.
///
/// # Errors
/// That of fork.
pub fn start(body: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: a forked child of a process with threads may only do what is async-signal-safe. No thread of
    // ours runs while a child is started, so no lock is held that the child would wait for in vain.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
            // SAFETY: does not return, and runs nothing of the parent's on the way out.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for a child's end.
///
/// # Errors
/// That of waitpid; a child that stops is one, too.
pub fn wait(child: Pid) -> io::Result<End> {
    match waitpid(child, None)? {
        WaitStatus::Exited(_, code) => Ok(End::Code(code)),
        WaitStatus::Signaled(_, signal, _) => Ok(End::Signal(signal as i32)),
        other => Err(io::Error::other(format!("a child did not end: {other:?}"))),
    }
}

/// Runs a function in a process of its own to its end.
///
/// # Errors
/// As [`start`] and [`wait`].
pub fn run(body: impl FnOnce() -> i32) -> io::Result<End> {
    wait(start(body)?)
}
