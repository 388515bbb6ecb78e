//! A process of our own making.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// A child process; it is killed where nobody waits for it.
#[derive(Debug)]
pub struct Child(Option<Pid>);

impl Child {
    /// Starts a copy of this process that runs `body` and ends with its result as its exit code.
    ///
    /// # Errors
    /// That of fork.
    pub fn start(body: impl FnOnce() -> i32) -> io::Result<Self> {
        // SAFETY: a forked child of a process with threads may only do what is async-signal-safe. No thread of ours
        // runs while a child is started, so no lock is held that the child would wait for in vain.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self(Some(child))),
            ForkResult::Child => {
                let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
                // SAFETY: does not return, and runs nothing of the parent's on the way out.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// Waits for its end, which must be an exit with 0.
    ///
    /// # Errors
    /// That of waitpid, and any other end.
    pub fn wait(mut self) -> io::Result<()> {
        let Some(pid) = self.0.take() else { return Ok(()) };
        match waitpid(pid, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            other => Err(io::Error::other(format!("a child ended with {other:?}"))),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            // It may have ended already; then there is only its status to be had.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_not_0_is_an_error() {
        assert!(Child::start(|| 0).unwrap().wait().is_ok());
        assert!(Child::start(|| 3).unwrap().wait().is_err());
    }
}
