//! What the two directions have in common: the frame around a message.

use crate::SessionId;
use crate::body::Body;

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 2;

/// The first bytes of a Hello's body. Not text, so that no console output can look like it.
pub const HELLO_MAGIC: [u8; 8] = [0xf5, b'R', b'F', b'a', b'g', b'n', b't', 0xfa];

/// The most bytes that a frame's body can have: what its 16-bit length can say.
pub const MAX_BODY: usize = u16::MAX as usize;

/// The most bytes of standard input or output that one frame should carry, so that sessions take turns.
pub const DATA_CHUNK: usize = 4096;

/// Kind, session, length.
pub(crate) const HEADER: usize = 7;
/// Magic and version.
const HELLO_BODY: u16 = 10;
/// The kind that opens a conversation, the same in both directions and in every version.
pub(crate) const KIND_HELLO: u8 = 0x01;

/// The first [`HEADER`] + 8 bytes of every Hello: what a decoder hunts for.
pub(crate) const HELLO_START: [u8; HEADER + HELLO_MAGIC.len()] = {
    let mut start = [0; HEADER + HELLO_MAGIC.len()];
    start[0] = KIND_HELLO;
    start[5] = HELLO_BODY as u8;
    let mut at = 0;
    while at < HELLO_MAGIC.len() {
        start[HEADER + at] = HELLO_MAGIC[at];
        at += 1;
    }
    start
};

/// A message does not fit into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the command line and environment (or a piece of data) take {length} bytes; the guest agent takes at most {MAX_BODY}: make them shorter"
)]
pub struct TooLong {
    /// The bytes that the body would have had.
    pub length: usize,
}

/// One direction of the conversation: [`crate::Request`] or [`crate::Reply`].
pub trait Message: Sized {
    /// Appends the message as one frame to `out`.
    ///
    /// # Errors
    /// [`TooLong`] where the body would exceed [`MAX_BODY`]; `out` is then as it was.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong>;

    /// The message of a frame; `None` where `kind` is unknown or `body` is not that kind's.
    fn decode(kind: u8, session: SessionId, body: &[u8]) -> Option<Self>;
}

/// Appends one frame whose body is what `write` appends.
pub(crate) fn frame(
    out: &mut Vec<u8>,
    kind: u8,
    session: SessionId,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), TooLong> {
    let start = out.len();
    out.push(kind);
    out.extend_from_slice(&session.0.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    write(out);
    let length = out.len() - start - HEADER;
    let Ok(short) = u16::try_from(length) else {
        out.truncate(start);
        return Err(TooLong { length });
    };
    out[start + 5..start + HEADER].copy_from_slice(&short.to_le_bytes());
    Ok(())
}

/// Appends a Hello.
pub(crate) fn frame_hello(out: &mut Vec<u8>, version: u16) -> Result<(), TooLong> {
    frame(out, KIND_HELLO, SessionId(0), |out| {
        out.extend_from_slice(&HELLO_MAGIC);
        out.extend_from_slice(&version.to_le_bytes());
    })
}

/// The version in a Hello's body.
pub(crate) fn hello_version(body: &mut Body<'_>) -> Option<u16> {
    (body.array::<8>()? == HELLO_MAGIC).then_some(())?;
    body.u16()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reply, Request};

    #[test]
    fn a_hello_begins_with_what_is_hunted_for_in_both_directions() {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        Request::Hello { version: 3 }.encode(&mut request).unwrap();
        Reply::Hello { version: 3 }.encode(&mut reply).unwrap();
        assert_eq!(request[..HELLO_START.len()], HELLO_START);
        assert_eq!(request, reply);
    }

    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        let mut out = vec![1, 2, 3];
        let session = SessionId(9);
        let bytes = vec![0; MAX_BODY + 1];
        let refused = Request::Stdin { session, bytes }.encode(&mut out);
        assert_eq!(refused, Err(TooLong { length: MAX_BODY + 1 }));
        assert_eq!(out, [1, 2, 3]);
        Request::Stdin { session, bytes: vec![0; MAX_BODY] }.encode(&mut out).unwrap();
        assert_eq!(out.len(), 3 + HEADER + MAX_BODY);
    }
}
