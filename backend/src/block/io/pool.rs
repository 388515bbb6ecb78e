//! The engine of hosts without io_uring: a few threads, each doing one operation at a time.

#![allow(unsafe_code)] // `Engine::start` is unsafe to call; see there

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use base::Bell;
use futures::channel::oneshot;

use super::{Engine, Op, Outcome, Started};

/// How many operations of one disk are done at the same time.
const THREADS: usize = 4;

/// Does operations on threads of its own.
#[derive(Debug)]
pub struct Pool {
    work: Option<mpsc::Sender<Job>>,
    done: Arc<Done>,
    under_way: AtomicUsize,
    threads: Vec<JoinHandle<()>>,
}

type Job = (Op, oneshot::Sender<Outcome>);

/// Operations that are done and nobody was told of yet.
#[derive(Debug)]
struct Done {
    list: Mutex<Vec<(Outcome, oneshot::Sender<Outcome>)>>,
    some: Condvar,
    bell: Arc<Bell>,
}

impl Done {
    fn list(&self) -> MutexGuard<'_, Vec<(Outcome, oneshot::Sender<Outcome>)>> {
        // Nothing panics while it holds the lock.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// A pool that rings `bell` for each operation that is done.
    ///
    /// # Errors
    /// Where the host gives no threads.
    pub fn new(bell: &Arc<Bell>) -> io::Result<Self> {
        let done = Arc::new(Done { list: Mutex::default(), some: Condvar::new(), bell: Arc::clone(bell) });
        let (work, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let (jobs, done) = (Arc::clone(&jobs), Arc::clone(&done));
            threads.push(
                std::thread::Builder::new().name("disk i/o".to_owned()).spawn(move || serve(&jobs, &done))?,
            );
        }
        Ok(Self { work: Some(work), done, under_way: AtomicUsize::new(0), threads })
    }
}

fn serve(jobs: &Mutex<mpsc::Receiver<Job>>, done: &Done) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((op, sender)) = next else { return };
        // SAFETY: who started it keeps descriptor and memory until told that it is done.
        let outcome = unsafe { op.perform() };
        done.list().push((outcome, sender));
        done.some.notify_all();
        done.bell.ring();
    }
}

impl Engine for Pool {
    fn name(&self) -> &'static str {
        "threads"
    }

    unsafe fn start(&self, op: Op) -> Started {
        let (sender, receiver) = oneshot::channel();
        self.under_way.fetch_add(1, Ordering::Relaxed);
        match self.work.as_ref().map(|work| work.send((op, sender))) {
            Some(Ok(())) => Started::Later(receiver),
            Some(Err(mpsc::SendError((op, _)))) => {
                self.under_way.fetch_sub(1, Ordering::Relaxed);
                // SAFETY: the caller's promise.
                Started::Done(unsafe { op.perform() })
            }
            None => Started::Done(-libc::EIO),
        }
    }

    fn submit(&self) -> bool {
        true
    }

    fn reap(&self) {
        let done = std::mem::take(&mut *self.done.list());
        self.under_way.fetch_sub(done.len(), Ordering::Relaxed);
        for (outcome, sender) in done {
            // Who no longer waits has no need to know.
            let _ = sender.send(outcome);
        }
    }

    fn wait(&self) {
        let mut list = self.done.list();
        while list.is_empty() && self.under_way.load(Ordering::Relaxed) > 0 {
            list = self.done.some.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
        drop(list);
        self.reap();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            // It cannot have panicked, and there is nothing to be done if it had.
            let _ = thread.join();
        }
    }
}
