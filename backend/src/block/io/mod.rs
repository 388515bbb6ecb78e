//! How bytes are moved between files and memory.
//!
//! An [`Engine`] takes an [`Op`] and answers at once or later. There are three: [`Ring`] hands operations to the
//! kernel through io_uring, [`Pool`] to a few threads, [`Inline`] does them on the spot. The first two ring a bell when
//! something is done; whoever waits for the bell then calls [`Engine::reap`].
//!
//! An operation under way reads or writes memory that its starter owns. [`run`] keeps that sound: a future that is
//! dropped before its operation is done waits for it.

#![allow(unsafe_code)] // hands pointers to the kernel; the argument is at `run`

mod inline;
mod op;
mod pool;
mod ring;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base::Bell;
use futures::channel::oneshot;

pub use inline::Inline;
pub use op::{Iovecs, Op};
pub use pool::Pool;
pub use ring::Ring;

/// What an operation came to: bytes moved, or a negated error number, as the kernel has it.
pub type Outcome = i32;

/// An operation that was started.
#[derive(Debug)]
pub enum Started {
    /// It is done.
    Done(Outcome),
    /// It is under way.
    Later(oneshot::Receiver<Outcome>),
}

/// Something that moves bytes.
pub trait Engine: Debug + Send + Sync {
    /// What it is, for people.
    fn name(&self) -> &'static str;

    /// Starts an operation.
    ///
    /// # Safety
    /// The operation's descriptor stays open and its memory valid until it is done.
    unsafe fn start(&self, op: Op) -> Started;

    /// Hands over what was started. False: the kernel takes no more now; call again soon.
    fn submit(&self) -> bool;

    /// Tells those who wait for operations that are done.
    fn reap(&self);

    /// Waits until an operation is done, if one is under way, and reaps.
    fn wait(&self);
}

/// The best engine there is: the ring, or where the host has none or forbids it, the pool. It rings `bell`.
///
/// # Errors
/// Where the host gives no threads either.
pub fn best(bell: &Arc<Bell>) -> io::Result<Arc<dyn Engine>> {
    match Ring::new(bell) {
        Ok(ring) => Ok(Arc::new(ring)),
        Err(reason) => {
            tracing::info!("disks use a pool of threads: io_uring: {reason}");
            Ok(Arc::new(Pool::new(bell)?))
        }
    }
}

/// Does an operation and gives the bytes it moved.
///
/// # Safety
/// The descriptor stays open and the memory valid as long as the future exists: it is no longer under way when
/// the future is gone, be that by completion or by `drop`. The future must not be leaked before it is done.
pub unsafe fn run(engine: &dyn Engine, op: Op) -> impl Future<Output = io::Result<usize>> {
    // SAFETY: passed on to the caller; `Pending` waits in `drop`.
    let started = unsafe { engine.start(op) };
    let mut pending = Pending { engine, started: Some(started) };
    async move {
        match (&mut pending).await {
            outcome if outcome < 0 => Err(io::Error::from_raw_os_error(-outcome)),
            outcome => Ok(outcome as usize),
        }
    }
}

/// An operation that somebody waits for.
struct Pending<'a> {
    engine: &'a dyn Engine,
    started: Option<Started>,
}

impl Future for Pending<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = match &mut self.started {
            Some(Started::Done(outcome)) => *outcome,
            Some(Started::Later(receiver)) => match Pin::new(receiver).poll(context) {
                Poll::Pending => return Poll::Pending,
                // The engine went away: it must not, but then nothing is known of the operation.
                Poll::Ready(outcome) => outcome.unwrap_or(-libc::EIO),
            },
            None => -libc::EIO,
        };
        self.started = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(Started::Later(receiver)) = &mut self.started {
            while let Ok(None) = receiver.try_recv() {
                self.engine.submit();
                self.engine.wait();
            }
        }
    }
}

/// Runs a future to its end on this thread, waiting for the engine wherever it has to.
pub fn block_on<F: Future>(engine: &dyn Engine, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        engine.submit();
        engine.wait();
    }
}

#[cfg(test)]
mod tests;
