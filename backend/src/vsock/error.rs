//! Why a machine's sockets cannot be.

use std::io;
use std::path::PathBuf;

/// What went wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another machine has it.
    #[error("{} is another machine's: somebody listens there; name another path", .0.display())]
    Occupied(PathBuf),
    /// There is something that is no socket.
    #[error("{} is there already and is no socket; name another path", .0.display())]
    NoSocket(PathBuf),
    /// No Unix socket can have such a path.
    #[error(
        "{} is too long for a Unix socket: with `_` and a port's number it may have {most} bytes; name another path",
        path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Bytes that it may have, the port's included.
        most: usize,
    },
    /// The socket cannot be made there.
    #[error("cannot make the socket {}: {source}", path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// The host has no descriptor left.
    #[error("cannot wait for sockets: {0}")]
    Host(io::Error),
}
