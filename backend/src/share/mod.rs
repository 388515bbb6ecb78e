//! A directory of the host's for a guest: virtiofs, which is FUSE's protocol over a queue.
//!
//! ```text
//!   front ─► Share ─► one of four threads: Desk ─► the library's server ─► Folder ─► files below the directory
//!                                                   (parses messages)       Nodes: what the guest knows
//!                                                                           Handles: what it has open
//! ```
//!
//! **Why virtiofs, and why so.** Debian's kernel for virtual machines has virtiofs and no 9p. The protocol's messages are
//! parsed by `fuse-backend-rs`, which Kata Containers and Nydus keep alive. Its ready-made pass-through file system is not taken:
//! it clears the process's umask, follows `..` wherever it leads by then, keeps a descriptor and a record for every file that a
//! guest ever looked at, passes the guest's flags to `fcntl`, and fails for guest users where we are not root. virtiofsd, the
//! other candidate, wants a C library and a process and mount namespace of its own.
//!
//! **What a guest can do** is what [`beneath`] says of names, [`attributes`] of owners and [`Folder`] of a directory that may
//! only be read; what it can make us keep is bounded by [`nodes`] and [`handles`]. It can make symbolic links that point
//! anywhere: whoever follows them on the host follows a guest's word.
//!
//! **At rest** a share is paths: those of the files that the guest knows, and which of them it has open. They are found
//! again in the directory that the other machine has; a file that is not there any more is ESTALE, as by NFS.

mod attributes;
mod beneath;
mod error;
mod folder;
mod handles;
mod nodes;
mod serve;
mod spec;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use base::{Bell, Record, RestoreError, Saved};
use fuse_backend_rs::api::server::Server;
use serde::{Deserialize, Serialize};
use virtio::back::{self, ShareReply, ShareRequest};

pub use error::Error;
pub use spec::{Spec, SpecError};

use beneath::Root;
use folder::{Folder, lock};
use handles::HandlesState;
use nodes::NodesState;
use serve::Desk;

/// Messages that are served at the same time.
const THREADS: usize = 4;

/// The back-end.
pub struct Share {
    tag: String,
    folder: Arc<Folder>,
    work: Option<mpsc::Sender<ShareRequest>>,
    done: Arc<Done>,
    threads: Vec<JoinHandle<()>>,
}

/// Replies that the front has not heard of.
struct Done {
    replies: Mutex<Vec<ShareReply>>,
    bell: Bell,
}

impl Share {
    /// Shares what the command line says.
    ///
    /// # Errors
    /// Where that cannot be: see [`Error`].
    pub fn open(spec: &Spec) -> Result<Self, Error> {
        let folder = Arc::new(Folder::new(Root::open(&spec.path)?, spec.read_only));
        let server = Arc::new(Server::new(Arc::clone(&folder)));
        let done = Arc::new(Done { replies: Mutex::default(), bell: Bell::new().map_err(Error::Host)? });
        let (work, requests) = mpsc::channel();
        let requests = Arc::new(Mutex::new(requests));
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let desk = Desk::new().map_err(Error::Host)?;
            let (requests, server, done) = (Arc::clone(&requests), Arc::clone(&server), Arc::clone(&done));
            let thread = std::thread::Builder::new().name("share".to_owned());
            threads.push(thread.spawn(move || serve(desk, &requests, &server, &done)).map_err(Error::Host)?);
        }
        Ok(Self { tag: spec.tag.clone(), folder, work: Some(work), done, threads })
    }
}

/// A thread: message after message.
fn serve(
    mut desk: Desk,
    requests: &Mutex<mpsc::Receiver<ShareRequest>>,
    server: &Server<Arc<Folder>>,
    done: &Done,
) {
    loop {
        let next = lock(requests).recv();
        let Ok(request) = next else { return };
        let written = desk.serve(server, &request);
        lock(&done.replies).push(ShareReply { tag: request.tag, written });
        done.bell.ring();
    }
}

impl back::Share for Share {
    fn tag(&self) -> &str {
        &self.tag
    }

    fn submit(&mut self, request: ShareRequest) {
        if let Some(work) = &self.work {
            // The threads are there as long as this is.
            let _ = work.send(request);
        }
    }

    fn complete(&mut self, into: &mut Vec<ShareReply>) {
        self.done.bell.answer();
        into.append(&mut lock(&self.done.replies));
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.done.bell.as_fd()
    }

    fn reset(&mut self) {
        self.folder.forget_all();
    }

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            // It cannot have panicked, and there is nothing to be done if it had.
            let _ = thread.join();
        }
    }
}

/// A share at rest: what the guest knows and has open, by paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareState {
    nodes: NodesState,
    handles: HandlesState,
}

impl Saved for Share {
    type State = ShareState;
    const KIND: &'static str = "share";
    const VERSION: u16 = 1;

    fn save(&self) -> ShareState {
        // The rest is the host's, and nothing is under way.
        let Self { tag: _, folder, work: _, done: _, threads: _ } = self;
        ShareState { nodes: lock(&folder.nodes).state(), handles: lock(&folder.handles).state() }
    }

    fn restore(&mut self, state: ShareState) -> Result<(), RestoreError> {
        let ShareState { nodes, handles } = state;
        self.folder
            .remember(nodes, handles)
            .map_err(|reason| RestoreError::Invalid { kind: Self::KIND, reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests;
