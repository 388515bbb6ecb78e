//! The user's end.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::connection::is_trusted;
use crate::{
    Connection, Facts, Greeting, LineError, Name, PROTOCOL, Problem, ProblemKind, Registry, Reply, Request,
};

/// Why a machine was not reached, or does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is none of this name.
    #[error("no machine named `{0}` is running")]
    NoSuch(Name),
    /// Somebody else listens in its place.
    #[error("the socket of `{0}` is another user's: it is not used")]
    Foreign(Name),
    /// It speaks another version of the protocol.
    #[error(
        "`{name}` runs in Ringfence {ringfence}, which speaks version {protocol} of the control protocol, not {PROTOCOL}: use that one's command"
    )]
    Version {
        /// The machine.
        name: Name,
        /// Its version.
        ringfence: String,
        /// Its protocol.
        protocol: u32,
    },
    /// It refuses.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// It went away, or does not answer.
    #[error("`{name}` does not answer: {error}")]
    Silent {
        /// The machine.
        name: Name,
        /// Its process, as far as that is known.
        process: Option<i32>,
        /// What happened.
        error: LineError,
    },
}

/// A connection to a machine.
#[derive(Debug)]
pub struct Client {
    name: Name,
    process: i32,
    connection: Connection,
}

impl Client {
    /// Connects to the machine of this name.
    ///
    /// # Errors
    /// [`ClientError`], but not [`ClientError::Problem`] unless it has too many clients.
    pub fn connect(registry: &Registry, name: &Name) -> Result<Self, ClientError> {
        let silent =
            |error: io::Error| ClientError::Silent { name: name.clone(), process: None, error: error.into() };
        let stream = match UnixStream::connect(registry.socket(name)) {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ClientError::NoSuch(name.clone()));
            }
            // The socket of a dead machine that nobody has swept yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !registry.is_alive(name) => {
                return Err(ClientError::NoSuch(name.clone()));
            }
            Err(error) => return Err(silent(error)),
        };
        let connection = Connection::new(stream).map_err(silent)?;
        let (user, process) = connection.peer().map_err(silent)?;
        if !is_trusted(user) {
            return Err(ClientError::Foreign(name.clone()));
        }
        let mut client = Self { name: name.clone(), process, connection };
        let Greeting { ringfence, protocol } = client.receive(Duration::ZERO)?;
        if protocol != PROTOCOL {
            return Err(ClientError::Version { name: name.clone(), ringfence, protocol });
        }
        Ok(client)
    }

    /// The machine's process.
    pub fn process(&self) -> i32 {
        self.process
    }

    /// Asks for something and waits for the answer: 10 s, and as long as the request itself may wait.
    ///
    /// # Errors
    /// [`ClientError::Problem`] if it is refused; [`ClientError::Silent`].
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        // One client too many has been told so, and then left.
        let sent = self.connection.writer.send(request);
        let patience = match request {
            Request::Detach { wait, .. } => Duration::from_millis(*wait),
            _ => Duration::ZERO,
        };
        match self.receive(patience)? {
            Reply::Error(problem) => Err(problem.into()),
            reply => sent.map(|()| reply).map_err(|error| self.silent(error.into())),
        }
    }

    /// What there is to know about the machine.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn facts(&mut self) -> Result<Facts, ClientError> {
        match self.ask(&Request::Info {})? {
            Reply::Info(facts) => Ok(facts),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks for a stream.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn stream(mut self, request: &Request) -> Result<Connection, ClientError> {
        match self.ask(request)? {
            Reply::Streaming => {
                self.connection.stream().map_err(|error| self.silent(error.into()))?;
                Ok(self.connection)
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// Waits until the machine closes the connection, which it does when it ends.
    pub fn await_end(mut self) {
        while let Ok(Some(_)) = self.connection.reader.receive::<serde_json::Value>() {}
    }

    /// What is said next; a machine that is not stuck says it soon after `patience`.
    fn receive<T: serde::de::DeserializeOwned>(&mut self, patience: Duration) -> Result<T, ClientError> {
        let until = Instant::now().checked_add(patience);
        let cut = || Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        self.connection
            .reader
            .receive_by(until)
            .and_then(|message| message.map_or_else(cut, Ok))
            .map_err(|error| self.silent(error))
    }

    fn silent(&self, error: LineError) -> ClientError {
        ClientError::Silent { name: self.name.clone(), process: Some(self.process), error }
    }

    fn unexpected(&self, reply: &Reply) -> ClientError {
        Problem::new(ProblemKind::Other, format!("`{}` answers something else: {reply:?}", self.name)).into()
    }
}
