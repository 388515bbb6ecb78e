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
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Buffer;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use imago::io_buffers::{IoVector, IoVectorMut};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use virtio::back::{Completion, Failure, Op, Request};

use super::disk::Shared;
use super::io::block_on;
use super::limit::Limits;
use super::{Image, SECTOR};

/// How soon to ask again a kernel that takes no more.
const SOON: Duration = Duration::from_millis(1);

/// Serves an image until told to close it.
pub(super) fn work(shared: &Shared, image: Image, mut limits: Limits) {
    let (engine, began) = (Arc::clone(image.engine()), Instant::now());
    let image = Rc::new(image);
    let mut pool = LocalPool::new();
    let done = Rc::new(RefCell::new(Vec::new()));
    let mut waiting = VecDeque::new();
    let mut running = 0;
    loop {
        shared.bell.answer();
        engine.reap();
        let closing = {
            let mut inbox = shared.inbox();
            waiting.extend(inbox.requests.drain(..));
            inbox.closing
        };
        if closing {
            // Nobody waits for them, and limits could hold them for long.
            waiting.clear();
        }
        let mut wait = None;
        while let Some(request) = waiting.pop_front() {
            if let Err(until) = limits.begin(began.elapsed(), request.data.len()) {
                waiting.push_front(request);
                wait = Some(until.saturating_sub(began.elapsed()));
                break;
            }
            let (image, done, tag) = (Rc::clone(&image), Rc::clone(&done), request.tag);
            let task = async move {
                let result = serve(&image, &request).await;
                done.borrow_mut().push(Completion { tag: request.tag, result });
            };
            match pool.spawner().spawn_local(task) {
                Ok(()) => running += 1,
                // Only a pool that is gone takes no task.
                Err(_) => shared.complete(&mut vec![Completion { tag, result: Err(Failure::Io) }]),
            }
        }
        pool.run_until_stalled();
        running -= done.borrow().len();
        shared.complete(&mut done.borrow_mut());
        if !engine.submit() {
            wait = Some(SOON);
        }
        if closing && running == 0 {
            break;
        }
        rest(shared, wait);
    }
    drop(pool);
    if let Ok(image) = Rc::try_unwrap(image) {
        let path = image.path().to_owned();
        if let Err(error) = block_on(&*engine, image.close()) {
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
    let (at, len) = (request.sector * SECTOR, request.sectors * SECTOR);
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
