//! What a command writes.

use std::fs::File;
use std::io::{ErrorKind, Read};

use ringfence_agent::DATA_CHUNK;

/// Our end of one of a command's output streams; closed for good at the stream's end.
pub struct Output(Option<File>);

/// The result of one read.
pub enum Piece {
    /// Some bytes; there may be more.
    Bytes(Vec<u8>),
    /// Nothing for now.
    Empty,
    /// Nothing any more.
    Closed,
}

impl Output {
    /// The stream that `source` is the reading end of.
    pub fn new(source: Option<File>) -> Self {
        Self(source)
    }

    /// The descriptor that has to become readable before there can be more.
    pub fn source(&self) -> Option<&File> {
        self.0.as_ref()
    }

    /// Reads at most one frame's worth, and no more than there is room for.
    pub fn read(&mut self, room: usize) -> Piece {
        if room == 0 {
            return Piece::Empty;
        }
        let Some(source) = &mut self.0 else {
            return Piece::Closed;
        };
        let mut bytes = vec![0; DATA_CHUNK.min(room)];
        loop {
            match source.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    bytes.truncate(count);
                    return Piece::Bytes(bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Piece::Empty,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A terminal's end is an error (EIO).
                Ok(_) | Err(_) => {
                    self.0 = None;
                    return Piece::Closed;
                }
            }
        }
    }
}
