//! What the host typed for a command and the command has not yet read.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Write};

/// The end-of-file character of a terminal in its usual mode (`stty eof`): Ctrl-D.
const END_OF_FILE: u8 = 0x04;

/// A queue in front of the command's standard input. The protocol's window bounds it.
pub struct Input {
    waiting: VecDeque<u8>,
    /// The command's end; gone once it is closed, by the host or by the command.
    sink: Option<File>,
    is_terminal: bool,
    at_end: bool,
}

impl Input {
    /// The input of a command that reads from `sink`.
    pub fn new(sink: File, is_terminal: bool) -> Self {
        Self { waiting: VecDeque::new(), sink: Some(sink), is_terminal, at_end: false }
    }

    /// Adds what the host sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
    }

    /// No more is to come. A terminal cannot be closed from our side without hanging up on the command, so
    /// there the character is typed that means it.
    pub fn end(&mut self) {
        if self.is_terminal {
            self.waiting.push_back(END_OF_FILE);
        } else {
            self.at_end = true;
        }
    }

    /// The descriptor that has to become writable before [`pump`](Self::pump) can do more.
    pub fn blocked_on(&self) -> Option<&File> {
        self.sink.as_ref().filter(|_| !self.waiting.is_empty())
    }

    /// Hands over what the command takes now, or discards all once it takes no more. Returns how many bytes
    /// are gone.
    pub fn pump(&mut self) -> u32 {
        let before = self.waiting.len();
        while let Some(sink) = &mut self.sink
            && !self.waiting.is_empty()
        {
            match sink.write(self.waiting.as_slices().0) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.sink = None,
            }
        }
        if self.sink.is_none() {
            self.waiting.clear();
        }
        if self.at_end && self.waiting.is_empty() {
            self.sink = None;
        }
        u32::try_from(before - self.waiting.len()).unwrap_or(u32::MAX)
    }
}
