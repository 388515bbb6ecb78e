//! A disk's thread: takes requests in, lets them run side by side, and tells the front of those that are done.
//!
//! Each request is a future over the image; whatever it waits for is an operation of the engine. One turn of the loop:
//!
//! ```text
//!   answer the bell ─► take what is done from the engine ─► take requests ─► start those the limits allow
//!         ▲                                                                        │
//!         └── wait for the bell ◄── hand operations over ◄── completions ◄── run what can run
//! ```
//!
//! The bell is answered before anything is looked at, so nothing that happens meanwhile is missed.

#![allow(unsafe_code)] // shows guest RAM to the format library; the argument is at `ranges`

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Buffer;
use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt;
use imago::io_buffers::{IoVector, IoVectorMut};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use virtio::back::{Completion, Failure, Op, Request};

use super::disk::Shared;
use super::io::{Engine, block_on};
use super::limit::Limits;
use super::{Image, SECTOR};

/// How soon to ask again a kernel that takes no more.
const SOON: Duration = Duration::from_millis(1);

/// Requests that were taken and not completed, by tag.
type Taken = RefCell<HashSet<u64>>;

/// Serves an image until told to close it. Should that come to an end of its own, by a panic, the guest gets errors and
/// the other devices live on.
pub(super) fn work(shared: &Shared, image: Image, limits: Limits) {
    let (path, taken) = (image.path().to_owned(), Taken::default());
    let served = catch_unwind(AssertUnwindSafe(|| serve_all(shared, image, limits, &taken)));
    if served.is_err() {
        tracing::error!("the disk {} is gone: a fault in Ringfence; please report it", path.display());
        refuse_all(shared, taken.take());
    }
}

/// Fails all requests until told to end.
fn refuse_all(shared: &Shared, mut tags: HashSet<u64>) {
    loop {
        shared.bell.answer();
        let closing = {
            let mut inbox = shared.inbox();
            tags.extend(inbox.requests.drain(..).map(|request| request.tag));
            inbox.closing
        };
        shared.complete(&mut tags.drain().map(|tag| Completion { tag, result: Err(Failure::Io) }).collect());
        if closing {
            return;
        }
        rest(shared, None);
    }
}

fn serve_all(shared: &Shared, image: Image, limits: Limits, taken: &Taken) {
    let engine = Arc::clone(image.engine());
    let mut worker = Worker {
        shared,
        image: Rc::new(image),
        limits,
        began: Instant::now(),
        taken,
        waiting: VecDeque::new(),
        running: 0,
        done: Rc::default(),
    };
    let mut pool = LocalPool::new();
    loop {
        shared.bell.answer();
        engine.reap();
        let closing = worker.take();
        let mut wait = worker.start(&pool.spawner());
        pool.run_until_stalled();
        worker.tell();
        if !engine.submit() {
            wait = Some(SOON);
        }
        if closing && worker.running == 0 {
            break;
        }
        rest(shared, wait);
    }
    drop(pool);
    worker.close(&*engine);
}

/// Where requests are on their way from the inbox to the outbox.
struct Worker<'a> {
    shared: &'a Shared,
    image: Rc<Image>,
    limits: Limits,
    /// Limits count time from here.
    began: Instant,
    taken: &'a Taken,
    /// Held back by the limits.
    waiting: VecDeque<Request>,
    running: usize,
    /// Done, and the front was not told yet.
    done: Rc<RefCell<Vec<Completion>>>,
}

impl Worker<'_> {
    /// Takes requests in. True if the disk is to be closed.
    fn take(&mut self) -> bool {
        let mut inbox = self.shared.inbox();
        self.taken.borrow_mut().extend(inbox.requests.iter().map(|request| request.tag));
        self.waiting.extend(inbox.requests.drain(..));
        if inbox.closing {
            // Nobody waits for them, and limits could hold them for long.
            self.waiting.clear();
        }
        inbox.closing
    }

    /// Starts what the limits allow, and says how long the next has to wait.
    fn start(&mut self, spawner: &LocalSpawner) -> Option<Duration> {
        while let Some(request) = self.waiting.pop_front() {
            let now = self.began.elapsed();
            if let Err(until) = self.limits.begin(now, request.data.len()) {
                self.waiting.push_front(request);
                return Some(until.saturating_sub(now));
            }
            let (image, done, tag) = (Rc::clone(&self.image), Rc::clone(&self.done), request.tag);
            let task = async move {
                let result = serve(&image, &request).await;
                done.borrow_mut().push(Completion { tag, result });
            };
            self.running += 1;
            if spawner.spawn_local(task).is_err() {
                // Only a pool that is gone takes no task.
                self.done.borrow_mut().push(Completion { tag, result: Err(Failure::Io) });
            }
        }
        None
    }

    /// Tells the front what is done.
    fn tell(&mut self) {
        let mut done = self.done.borrow_mut();
        self.running -= done.len();
        let mut taken = self.taken.borrow_mut();
        for one in done.iter() {
            taken.remove(&one.tag);
        }
        self.shared.complete(&mut done);
    }

    fn close(self, engine: &dyn Engine) {
        let path = self.image.path().to_owned();
        // The tasks are gone, and with them all other owners.
        let Ok(image) = Rc::try_unwrap(self.image) else { return };
        if let Err(error) = block_on(engine, image.close()) {
            tracing::error!("closing {}: {error}", path.display());
        }
    }
}

/// Waits for the bell, or for so long.
fn rest(shared: &Shared, wait: Option<Duration>) {
    let mut bell = [PollFd::new(shared.bell.as_fd(), PollFlags::POLLIN)];
    // A failure means a signal, or a turn too many.
    let _ = ppoll(&mut bell, wait.map(TimeSpec::from_duration), None);
}

/// Does one request.
async fn serve(image: &Image, request: &Request) -> Result<(), Failure> {
    // The front has checked them; if not, the image fails what is too far out.
    let [at, len] = [request.sector, request.sectors].map(|sectors| sectors.saturating_mul(SECTOR));
    let result = match request.op {
        Op::Read => {
            let result = image.read(ranges_mut(&request.data), at).await;
            // Also after a failure: some of it may be there.
            request.data.wrote(request.data.len());
            result
        }
        Op::Write => image.write(ranges(&request.data), at).await,
        Op::Flush => image.flush().await,
        Op::Discard => image.discard(at, len).await,
        Op::WriteZeroes { unmap } => image.zero(at, len, unmap).await,
    };
    result.map_err(|error| {
        tracing::warn!("{}: {:?} of {len} bytes at {at}: {error}", image.path().display(), request.op);
        Failure::Io
    })
}

/// A buffer as the format library takes it.
fn ranges(buffer: &Buffer) -> IoVector<'_> {
    let slice = |range: libc::iovec| {
        // SAFETY: pieces of guest RAM, which the buffer keeps mapped. The guest may write them meanwhile: the bytes are
        // only copied, by the kernel or by `memcpy`, and nothing is concluded from them.
        IoSlice::new(unsafe { std::slice::from_raw_parts(range.iov_base.cast(), range.iov_len) })
    };
    IoVector::from(buffer.iovecs().into_iter().map(slice).collect::<Vec<_>>())
}

/// The same, to be written.
fn ranges_mut(buffer: &Buffer) -> IoVectorMut<'_> {
    let slice = |range: libc::iovec| {
        // SAFETY: as above. Two pieces may overlap if the guest says so; whichever bytes win are the guest's affair.
        IoSliceMut::new(unsafe { std::slice::from_raw_parts_mut(range.iov_base.cast(), range.iov_len) })
    };
    IoVectorMut::from(buffer.iovecs().into_iter().map(slice).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::GuestMemory;

    #[test]
    fn a_disk_that_is_gone_fails_what_it_had_and_what_comes() {
        let shared = Shared::new().unwrap();
        let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
        let request = Request { tag: 3, op: Op::Read, sector: 0, sectors: 0, data: Buffer::new(&memory) };
        shared.inbox().requests.push(request);
        shared.inbox().closing = true;
        refuse_all(&shared, HashSet::from([1, 2]));
        let mut tags: Vec<_> = shared.completions().drain(..).map(|done| (done.tag, done.result)).collect();
        tags.sort_unstable_by_key(|(tag, _)| *tag);
        assert_eq!(tags, [1, 2, 3].map(|tag| (tag, Err(Failure::Io))));
    }
}
