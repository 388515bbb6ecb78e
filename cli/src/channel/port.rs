//! The channel over a port of a virtio console: the host's end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Bell;
use crossbeam_channel::{Sender, TrySendError, bounded};
use virtio::{Port, back};

use super::Wire;

/// Bytes that wait for the guest.
const QUEUE: usize = 64 << 10;
/// Pieces of what the guest says under way to the hub. When they are not taken, the guest waits.
const UNDER_WAY: usize = 16;

#[derive(Debug)]
struct Shared {
    to_guest: Mutex<VecDeque<u8>>,
    /// The guest has more to say than was taken.
    stuck: AtomicBool,
    bell: Bell,
}

impl Shared {
    fn to_guest(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.to_guest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands behind the port.
#[derive(Debug)]
pub struct AgentPort {
    shared: Arc<Shared>,
    from_guest: Sender<Vec<u8>>,
}

impl AgentPort {
    /// The port, and the wire to it.
    ///
    /// # Errors
    /// Where the host has no descriptor left.
    pub fn open() -> io::Result<(Port, Wire)> {
        let (behind, wire) = Self::ends()?;
        Ok((Port::channel(Box::new(behind), agent::PORT), wire))
    }

    fn ends() -> io::Result<(Self, Wire)> {
        let bell = Bell::new()?;
        let shared = Arc::new(Shared { to_guest: Mutex::default(), stuck: AtomicBool::new(false), bell });
        let (sender, from_guest) = bounded(UNDER_WAY);
        let behind = Self { shared: Arc::clone(&shared), from_guest: sender };
        let to_guest = {
            let shared = Arc::clone(&shared);
            move |bytes: &[u8]| {
                let mut queue = shared.to_guest();
                let taken = bytes.len().min(QUEUE - queue.len());
                queue.extend(&bytes[..taken]);
                drop(queue);
                shared.bell.ring();
                taken
            }
        };
        let taken = move || {
            if shared.stuck.swap(false, Ordering::SeqCst) {
                shared.bell.ring();
            }
        };
        Ok((behind, Wire { from_guest, to_guest: Box::new(to_guest), taken: Box::new(taken) }))
    }
}

impl back::Console for AgentPort {
    fn write(&mut self, bytes: &[u8]) -> usize {
        // First: who takes a piece in between rings once too often, and never once too few.
        self.shared.stuck.store(true, Ordering::SeqCst);
        match self.from_guest.try_send(bytes.to_vec()) {
            Err(TrySendError::Full(_)) => 0,
            // Where nobody listens any more, it is lost.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {
                self.shared.stuck.store(false, Ordering::SeqCst);
                bytes.len()
            }
        }
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut queue = self.shared.to_guest();
        let count = into.len().min(queue.len());
        into.iter_mut().zip(queue.drain(..count)).for_each(|(to, from)| *to = from);
        count
    }

    fn connected(&self) -> bool {
        true
    }

    fn answer(&mut self) {
        self.shared.bell.answer();
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio::back::Console as _;

    #[test]
    fn a_guest_that_is_not_heard_waits_and_is_called_again() {
        let (mut port, wire) = AgentPort::ends().unwrap();
        for _ in 0..UNDER_WAY {
            assert_eq!(port.write(b"abc"), 3);
        }
        assert_eq!(port.write(b"abc"), 0);
        assert!(!port.shared.bell.answer());
        wire.from_guest.recv().unwrap();
        (wire.taken)();
        assert!(port.shared.bell.answer());
        assert_eq!(port.write(b"abc"), 3);
        drop(wire);
        assert_eq!(port.write(b"abc"), 3, "what nobody hears is lost");
    }

    #[test]
    fn what_is_said_to_the_guest_is_read_in_pieces() {
        let (mut port, mut wire) = AgentPort::ends().unwrap();
        assert_eq!((wire.to_guest)(b"hello"), 5);
        let mut piece = [0; 3];
        assert_eq!((port.read(&mut piece), piece), (3, *b"hel"));
        assert_eq!((port.read(&mut piece), &piece[..2]), (2, &b"lo"[..]));
        assert_eq!(port.read(&mut piece), 0);
        assert_eq!((wire.to_guest)(&vec![0; 2 * QUEUE]), QUEUE);
    }
}
