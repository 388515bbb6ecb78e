//! The engine over io_uring (Linux 5.6 or later, and where the host does not forbid it).
//!
//! Operations go into the submission queue as they are started and to the kernel with the next
//! [`submit`](Engine::submit), many at a time. The kernel writes to the bell's eventfd with each completion.

#![allow(unsafe_code)] // entries point to memory; `Engine::start` has the contract

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Bell;
use futures::channel::oneshot;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, Probe, opcode};
use slab::Slab;

use super::{Engine, Op, Outcome, Started};

/// Entries of the submission queue; a full one is handed over and filled again.
const ENTRIES: u32 = 128;

/// Hands operations to the kernel.
pub struct Ring {
    queue: Mutex<Queue>,
    /// The kernel writes to it.
    _bell: Arc<Bell>,
}

struct Queue {
    ring: IoUring,
    /// What is under way, by the number the kernel returns. An entry's ranges are the kernel's to read meanwhile.
    under_way: Slab<(Op, oneshot::Sender<Outcome>)>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("under_way", &self.queue().under_way.len()).finish()
    }
}

impl Ring {
    /// A ring that writes to `bell`.
    ///
    /// # Errors
    /// Where the kernel has no io_uring, lacks an operation or forbids it.
    pub fn new(bell: &Arc<Bell>) -> io::Result<Self> {
        let ring = IoUring::new(ENTRIES)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed =
            [opcode::Readv::CODE, opcode::Writev::CODE, opcode::Fsync::CODE, opcode::Fallocate::CODE];
        if !needed.iter().all(|code| probe.is_supported(*code)) || !ring.params().is_feature_nodrop() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel's is too old"));
        }
        ring.submitter().register_eventfd(bell.as_fd().as_raw_fd())?;
        Ok(Self { queue: Mutex::new(Queue { ring, under_way: Slab::new() }), _bell: Arc::clone(bell) })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From this many bytes on, copying takes longer than waking one of the kernel's workers for it, and the disk's thread
/// has others to serve.
const LONG: usize = 256 << 10;

fn entry(op: &Op) -> Entry {
    let entry = match op {
        Op::Read(fd, at, iovecs) => {
            opcode::Readv::new(Fd(*fd), iovecs.0.as_ptr(), iovecs.0.len() as u32).offset(*at).build()
        }
        Op::Write(fd, at, iovecs) => {
            opcode::Writev::new(Fd(*fd), iovecs.0.as_ptr(), iovecs.0.len() as u32).offset(*at).build()
        }
        Op::Sync(fd) => opcode::Fsync::new(Fd(*fd)).flags(FsyncFlags::DATASYNC).build(),
        Op::Allocate(fd, mode, at, len) => {
            opcode::Fallocate::new(Fd(*fd), *len).offset(*at).mode(*mode).build()
        }
    };
    match op {
        Op::Read(_, _, iovecs) | Op::Write(_, _, iovecs) if iovecs.bytes() >= LONG => {
            entry.flags(Flags::ASYNC)
        }
        _ => entry,
    }
}

impl Queue {
    fn submit(&mut self) -> bool {
        match self.ring.submit() {
            Ok(_) => self.ring.submission().is_empty(),
            // Busy or out of memory: the entries stay in the queue.
            Err(_) => false,
        }
    }

    fn reap(&mut self) {
        loop {
            let Some(completion) = self.ring.completion().next() else { return };
            let number = completion.user_data() as usize;
            if let Some((_, sender)) = self.under_way.try_remove(number) {
                // Who no longer waits has no need to know.
                let _ = sender.send(completion.result());
            }
        }
    }
}

impl Engine for Ring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    unsafe fn start(&self, op: Op) -> Started {
        let mut queue = self.queue();
        if queue.ring.submission().is_full() && !queue.submit() {
            drop(queue);
            // SAFETY: the caller's promise.
            return Started::Done(unsafe { op.perform() });
        }
        let (sender, receiver) = oneshot::channel();
        let entry = entry(&op);
        let number = queue.under_way.insert((op, sender));
        // SAFETY: the ranges lie in the heap of the operation just kept, the memory is valid by the caller's promise.
        let pushed = unsafe { queue.ring.submission().push(&entry.user_data(number as u64)) };
        if pushed.is_err() {
            let (op, _) = queue.under_way.remove(number);
            drop(queue);
            // SAFETY: the caller's promise.
            return Started::Done(unsafe { op.perform() });
        }
        Started::Later(receiver)
    }

    fn submit(&self) -> bool {
        self.queue().submit()
    }

    fn reap(&self) {
        self.queue().reap();
    }

    fn wait(&self) {
        let mut queue = self.queue();
        if !queue.under_way.is_empty() {
            // Where it fails the caller comes again.
            let _ = queue.ring.submit_and_wait(1);
        }
        queue.reap();
    }
}
