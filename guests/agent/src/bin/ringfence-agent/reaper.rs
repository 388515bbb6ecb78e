//! The duty of process 1: to take the status of everything that ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ringfence_agent::Status;

use crate::syscall;

/// Tells by a descriptor that children have ended. While it lives SIGCHLD is blocked, but not in commands
/// ([`syscall::lead_session`]).
pub struct Reaper {
    signals: SignalFd,
}

impl Reaper {
    /// Starts to watch.
    ///
    /// # Errors
    /// The kernel's, as for want of memory.
    pub fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signals })
    }

    /// Takes the status of one child that has ended, a command's or an orphan's: its process and how it
    /// ended. `None` when there is no more; then the descriptor waits for the next.
    pub fn reap(&self) -> Option<(u32, Status)> {
        // First the signal, then the children: one that ends in between is taken now or announced again.
        while let Ok(Some(_)) = self.signals.read_signal() {}
        syscall::reap(false).ok().flatten()
    }
}

impl AsFd for Reaper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
