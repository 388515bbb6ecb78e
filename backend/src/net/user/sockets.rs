//! The host's sockets, as far as the kernel is asked to tell about them.

use std::io;

use mio::event::Source;
use mio::{Interest, Registry, Token};

/// Gives each socket its number: never one twice, so that what was told of a socket that is gone is not taken for
/// another's.
#[derive(Debug)]
pub struct Sockets {
    registry: Registry,
    last: usize,
}

impl Sockets {
    /// For sockets in that registry.
    ///
    /// # Errors
    /// Where the host has no descriptor left.
    pub fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Self { registry: registry.try_clone()?, last: 0 })
    }

    /// Wants to hear of a socket. It is forgotten when it is closed.
    ///
    /// # Errors
    /// The host's.
    pub fn add(&mut self, socket: &mut impl Source, interest: Interest) -> io::Result<Token> {
        self.last += 1;
        let token = Token(self.last);
        self.registry.register(socket, token, interest)?;
        Ok(token)
    }
}
