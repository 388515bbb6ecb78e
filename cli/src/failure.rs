//! What a failed command tells its user: what happened, what to do, and the exit status.

use std::fmt::Display;

use crate::exit::Exit;

/// A failure on its way to the user.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What happened, for the line that begins `error:`.
    pub message: String,
    /// What to do, for the line that begins `hint:`.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self { status: exit.into(), message: message.to_string(), hint: None }
    }

    /// The user asked for something that cannot be.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The host failed.
    pub fn host(message: impl Display) -> Self {
        Self::new(Exit::Host, message)
    }

    /// With advice.
    pub fn hint(self, hint: impl Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}

impl From<images::Error> for Failure {
    /// Messages of the image store have their advice behind a colon. A name that does not exist is the user's
    /// mistake; what the store lacks is the host's failure.
    fn from(error: images::Error) -> Self {
        use images::Error::{BadName, NoSuchImage};
        let exit = match error {
            BadName { .. } | NoSuchImage { .. } => Exit::Usage,
            _ => Exit::Host,
        };
        let failure = Self::new(exit, &error);
        match error {
            NoSuchImage { .. } => failure.hint("`ringfence image list` says more about each"),
            images::Error::NoNetwork { .. } | images::Error::NoApt { .. } => failure
                .hint("`ringfence run selftest` boots the kernel inside Ringfence, which needs neither"),
            _ => failure,
        }
    }
}

impl From<backend::net::Error> for Failure {
    /// Messages of networks say what to do. What the user named is the user's mistake.
    fn from(error: backend::net::Error) -> Self {
        match error {
            backend::net::Error::Host(_) => Self::host(error),
            _ => Self::usage(error),
        }
    }
}

impl From<backend::block::Error> for Failure {
    /// Messages of disks have their advice behind a semicolon. What the user named is the user's mistake.
    fn from(error: backend::block::Error) -> Self {
        match error {
            backend::block::Error::Io { .. } => Self::host(error),
            _ => Self::usage(error),
        }
    }
}

impl From<backend::share::Error> for Failure {
    /// What the user named is the user's mistake.
    fn from(error: backend::share::Error) -> Self {
        match error {
            backend::share::Error::Open { .. } => Self::usage(error),
            _ => Self::host(error),
        }
    }
}

impl From<backend::vsock::Error> for Failure {
    /// Messages of sockets say what to do. What the user named is the user's mistake.
    fn from(error: backend::vsock::Error) -> Self {
        match error {
            backend::vsock::Error::Host(_) => Self::host(error),
            _ => Self::usage(error),
        }
    }
}
