//! The machine's end.
//!
//! A thread accepts clients; each has a thread of its own, on which its requests are answered one after the other, or
//! which carries its stream. A client that breaks the protocol is told and dropped; one that does not read is dropped.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::connection::{is_trusted, peer_of};
use crate::{Claim, Connection, Greeting, LineError, Name, PROTOCOL, Problem, ProblemKind, Reply, Request};

/// Clients that a machine has at most.
pub const MOST_CLIENTS: usize = 32;
/// How long nobody is accepted after the host had no descriptor for it.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Who answers.
pub trait Machine: Send + Sync + 'static {
    /// Does what is asked for. Called on the client's thread, for several clients at once.
    ///
    /// # Errors
    /// What the client is told.
    fn obey(&self, request: Request) -> Result<Reply, Problem>;

    /// Carries a stream to its end. Called after `obey` has answered this request with [`Reply::Streaming`].
    fn stream(&self, request: Request, connection: Connection);
}

/// A server, for as long as it lives.
pub struct Server {
    claim: Claim,
    /// Closed to end the thread.
    ends: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at the claimed place, and lets `machine` answer.
    ///
    /// # Errors
    /// The host's.
    pub fn start(claim: Claim, machine: Arc<dyn Machine>) -> io::Result<Self> {
        let listener = UnixListener::bind(claim.socket())?;
        std::fs::set_permissions(claim.socket(), std::fs::Permissions::from_mode(0o600))?;
        // One who connects and goes again at once must not make us wait.
        listener.set_nonblocking(true)?;
        let (ends, end) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &end, &machine))?;
        Ok(Self { claim, ends: Some(ends), thread: Some(thread) })
    }

    /// The machine's name.
    pub fn name(&self) -> &Name {
        self.claim.name()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &UnixListener, end: &UnixStream, machine: &Arc<dyn Machine>) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let mut both =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "the machine cannot be reached any more");
                return;
            }
        }
        if both[1].revents().is_some_and(|events| !events.is_empty()) {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => welcome(stream, &clients, machine),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "a client was not accepted");
                thread::sleep(SHORTAGE);
            }
        }
    }
}

/// A client's place among those that there can be.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Gives a client its thread, or says why not.
fn welcome(stream: UnixStream, clients: &Arc<AtomicUsize>, machine: &Arc<dyn Machine>) {
    match peer_of(&stream) {
        Ok((user, _)) if is_trusted(user) => {}
        Ok((user, process)) => {
            tracing::warn!(user, process, "another user's process connected; it is not answered");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "a client that does not tell who it is");
            return;
        }
    }
    let place = Place(Arc::clone(clients));
    if clients.fetch_add(1, Ordering::SeqCst) >= MOST_CLIENTS {
        refuse(stream);
        return;
    }
    let machine = Arc::clone(machine);
    let serve = move || {
        let _place = place;
        if let Err(error) = Connection::new(stream).and_then(|connection| serve(connection, &*machine)) {
            tracing::debug!(%error, "a client is gone");
        }
    };
    if let Err(error) = thread::Builder::new().name("client".to_owned()).spawn(serve) {
        tracing::warn!(%error, "no thread for a client");
    }
}

fn greeting() -> Greeting {
    Greeting { ringfence: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL }
}

/// One client too many. The socket's buffer takes the two lines, so this waits for nobody.
fn refuse(stream: UnixStream) {
    let message = format!("the machine has {MOST_CLIENTS} clients already");
    let problem = Problem::new(ProblemKind::Busy, message).hint("wait until one of them has gone");
    if let Ok(mut connection) = Connection::new(stream) {
        let _ = connection.writer.send(&greeting());
        let _ = connection.writer.send(&Reply::Error(problem));
    }
}

/// A client's thread.
fn serve(mut connection: Connection, machine: &dyn Machine) -> io::Result<()> {
    connection.writer.send(&greeting())?;
    loop {
        let request = match connection.reader.receive::<Request>() {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(LineError::Io(error)) => return Err(error),
            Err(error) => {
                let problem = Problem::new(ProblemKind::Malformed, error);
                return connection.writer.send(&Reply::Error(problem));
            }
        };
        let reply = Reply::from(machine.obey(request.clone()));
        connection.writer.send(&reply)?;
        if reply == Reply::Streaming {
            connection.stream()?;
            machine.stream(request, connection);
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
