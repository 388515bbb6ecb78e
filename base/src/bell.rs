//! A bell that one thread rings and another waits for, together with whatever else it waits for.
//!
//! It is an eventfd, so it goes into `poll(2)`; and a flag before it, so that ringing a bell that still rings
//! costs one atomic exchange and no system call. The waiter [answers](Bell::answer) first and then looks at
//! what there is to do, so a ring is never lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The bell. Its descriptor is readable while it rings.
#[derive(Debug)]
pub struct Bell {
    rings: AtomicBool,
    event: EventFd,
}

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// Where the host has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { rings: AtomicBool::new(false), event })
    }

    /// Rings it, if it does not ring.
    #[inline]
    pub fn ring(&self) {
        if !self.rings.swap(true, Ordering::SeqCst) {
            // It fails only at 2⁶⁴ − 2 rings that nobody answered; it rings then.
            let _ = self.event.write(1);
        }
    }

    /// Silences it; look at what there is to do afterwards. True if it rang.
    pub fn answer(&self) -> bool {
        // The descriptor first: a ring in between then finds the flag up and the caller about to look.
        let rang = self.event.read().is_ok();
        self.rings.swap(false, Ordering::SeqCst) || rang
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn readable(bell: &Bell) -> bool {
        let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn it_rings_until_answered() {
        let bell = Bell::new().unwrap();
        assert!(!readable(&bell) && !bell.answer());
        bell.ring();
        bell.ring();
        assert!(readable(&bell));
        assert!(bell.answer());
        assert!(!readable(&bell) && !bell.answer());
    }

    #[test]
    fn no_ring_is_lost_between_threads() {
        let bell = Bell::new().unwrap();
        let sent = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    sent.fetch_add(1, Ordering::SeqCst);
                    bell.ring();
                }
            });
            let mut seen = 0;
            while seen < 20_000 {
                let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
                assert_eq!(poll(&mut fds, PollTimeout::from(60_000u16)).unwrap(), 1, "stuck at {seen}");
                bell.answer();
                seen = sent.load(Ordering::SeqCst);
            }
        });
    }
}
