//! Numbers for what the host's kernel tells about: never used twice, so that what was told of a socket that is gone
//! is not taken for another's.

use mio::Token;

/// The numbers.
#[derive(Debug, Default)]
pub struct Tokens(usize);

impl Tokens {
    /// One that was never given before.
    pub fn fresh(&mut self) -> Token {
        self.0 += 1;
        Token(self.0)
    }
}
