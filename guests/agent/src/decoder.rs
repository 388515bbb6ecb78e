//! From bytes to messages, however the bytes are cut.

use std::marker::PhantomData;

use crate::SessionId;
use crate::message::{HEADER, HELLO_START, Message};

/// The peer sent something that is not of this protocol. The decoder has dropped it and hunts for the next
/// Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed message of kind {kind:#04x} with {length} bytes on the guest agent's channel: the guest's agent is of another version, or something else in the guest writes to its channel"
)]
pub struct ProtocolError {
    /// The frame's kind.
    pub kind: u8,
    /// The bytes in its body.
    pub length: u16,
}

/// Turns a stream of bytes into messages of type `M`.
///
/// Whatever comes in, it does not panic, and between two calls it holds at most one incomplete frame (64 KiB)
/// beside what was pushed and not yet taken out by [`next`](Self::next).
///
/// ```
/// use ringfence_agent::{Decoder, Message, Reply, VERSION};
/// let mut bytes = b"noise".to_vec();
/// Reply::Hello { version: VERSION }.encode(&mut bytes)?;
/// let mut decoder = Decoder::<Reply>::new();
/// decoder.push(&bytes);
/// assert_eq!(decoder.next(), Ok(Some(Reply::Hello { version: VERSION })));
/// assert_eq!(decoder.next(), Ok(None));
/// # Ok::<(), ringfence_agent::TooLong>(())
/// ```
#[derive(Debug)]
pub struct Decoder<M> {
    bytes: Vec<u8>,
    /// Where in `bytes` the next frame starts.
    start: usize,
    hunting: bool,
    message: PhantomData<M>,
}

impl<M: Message> Decoder<M> {
    /// A decoder that waits for a Hello.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, hunting: true, message: PhantomData }
    }

    /// Takes in what was received. Call [`next`](Self::next) until it returns `None` before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, or `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`ProtocolError`] for a malformed frame. What follows, up to the next Hello, is dropped.
    // Not an iterator: `None` means "not yet".
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<M>, ProtocolError> {
        if self.hunting {
            self.hunt();
        }
        let unread = &self.bytes[self.start..];
        let Some((&[kind, s0, s1, s2, s3, l0, l1], body)) = unread.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u16::from_le_bytes([l0, l1]);
        let Some(body) = body.get(..usize::from(length)) else {
            return Ok(None);
        };
        let message = M::decode(kind, SessionId(u32::from_le_bytes([s0, s1, s2, s3])), body);
        // A complete frame ends a hunt: it has the Hello's length, so the whole magic was compared.
        self.hunting = message.is_none();
        self.start += if self.hunting { 1 } else { HEADER + body.len() };
        message.map(Some).ok_or(ProtocolError { kind, length })
    }

    /// Drops bytes up to the first that could begin a Hello.
    fn hunt(&mut self) {
        while !HELLO_START.starts_with(prefix(&self.bytes[self.start..], HELLO_START.len())) {
            self.start += 1;
        }
    }
}

impl<M: Message> Default for Decoder<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// At most the first `count` bytes.
fn prefix(bytes: &[u8], count: usize) -> &[u8] {
    &bytes[..bytes.len().min(count)]
}
