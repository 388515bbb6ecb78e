//! A disk in use: an image, a thread that serves it, and the front's way to both.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use base::Bell;
use virtio::back::{Block, Completion, Facts, Request, Topology};

use super::io::{Engine, Pool, best};
use super::limit::Limits;
use super::{Error, Format, Image, Result, SECTOR, Source, worker};

/// How many requests may be under way. A front has fewer; more is a mistake.
const MOST: usize = 4096;

/// What a disk has besides its image.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its serial number: at most 20 bytes of ASCII reach the guest.
    pub serial: String,
    /// How much it may do.
    pub limits: Limits,
    /// Serve it by threads even where io_uring works.
    pub threads: bool,
}

/// A disk in use. Dropping it waits for what is under way, and closes the image.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    facts: Facts,
    engine: Arc<dyn Engine>,
    /// Taken, and not started yet.
    batch: Vec<Request>,
    under_way: usize,
}

/// What the front and the worker share.
#[derive(Debug)]
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    /// Rings for the worker: a request came, an operation is done, or it is to end.
    pub(super) bell: Arc<Bell>,
    outbox: Mutex<Vec<Completion>>,
    /// Rings for the front: a completion came.
    wake: Bell,
}

/// What the worker is told.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) requests: Vec<Request>,
    pub(super) closing: bool,
}

/// Nothing panics while it holds one of these locks, so what they guard is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new() -> io::Result<Self> {
        let (bell, wake) = (Arc::new(Bell::new()?), Bell::new()?);
        Ok(Self { inbox: Mutex::default(), bell, outbox: Mutex::default(), wake })
    }

    /// Completions that the front has not taken.
    pub(super) fn completions(&self) -> MutexGuard<'_, Vec<Completion>> {
        lock(&self.outbox)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    pub(super) fn complete(&self, done: &mut Vec<Completion>) {
        if !done.is_empty() {
            self.completions().append(done);
            self.wake.ring();
        }
    }
}

impl Disk {
    /// Opens an image and serves it.
    ///
    /// # Errors
    /// What is wrong with it, or with the host.
    pub fn open(source: &Source, options: &Options) -> Result<Self> {
        Self::serve(options, |engine| Image::open(source, engine))
    }

    /// Serves the image that `open` makes with the engine it is given.
    pub(super) fn serve(
        options: &Options,
        open: impl FnOnce(&Arc<dyn Engine>) -> Result<Image>,
    ) -> Result<Self> {
        let host = |source: io::Error| Error::Io { doing: "starting a disk's thread".to_owned(), source };
        let shared = Arc::new(Shared::new().map_err(host)?);
        let engine = match options.threads {
            true => Arc::new(Pool::new(&shared.bell).map_err(host)?),
            false => best(&shared.bell).map_err(host)?,
        };
        let image = open(&engine)?;
        let facts = facts(&image, &options.serial);
        let (for_worker, limits) = (Arc::clone(&shared), options.limits);
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || worker::work(&for_worker, image, limits))
            .map_err(host)?;
        Ok(Self { shared, thread: Some(thread), facts, engine, batch: Vec::new(), under_way: 0 })
    }

    /// What moves its bytes: `io_uring` or `threads`.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }
}

fn facts(image: &Image, serial: &str) -> Facts {
    Facts {
        sectors: image.size() / SECTOR,
        read_only: image.is_read_only(),
        discard: !image.is_read_only(),
        write_zeroes: !image.is_read_only(),
        serial: serial.to_owned(),
        topology: Topology {
            // The host's page: what is written in smaller parts, the host reads first.
            physical_exponent: 3,
            optimal_blocks: match image.format() {
                Format::Raw => 0,
                // A cluster.
                Format::Qcow2 => 128,
            },
            ..Topology::default()
        },
    }
}

impl Block for Disk {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn submit(&mut self, request: Request) -> std::result::Result<(), Request> {
        if self.under_way >= MOST {
            return Err(request);
        }
        self.under_way += 1;
        self.batch.push(request);
        Ok(())
    }

    fn start(&mut self) {
        if !self.batch.is_empty() {
            self.shared.inbox().requests.append(&mut self.batch);
            self.shared.bell.ring();
        }
    }

    fn complete(&mut self, into: &mut Vec<Completion>) -> bool {
        self.shared.wake.answer();
        let mut done = self.shared.completions();
        self.under_way -= done.len();
        into.append(&mut done);
        false
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.start();
        self.shared.inbox().closing = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there has said what it had to say.
            let _ = thread.join();
        }
    }
}
