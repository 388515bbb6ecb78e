//! What the host says.

use crate::body::Body;
use crate::message::{self, KIND_HELLO, Message, TooLong, frame};
use crate::session::{Command, SessionId, WindowSize};

/// A message from the host to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens the conversation; answered by [`crate::Reply::Hello`].
    Hello {
        /// The sender's [`crate::VERSION`].
        version: u16,
    },
    /// Runs a command under a session number that is not in use.
    Start {
        /// The new session.
        session: SessionId,
        /// What to run.
        command: Command,
    },
    /// Input for the command, within the session's [`crate::Window`].
    Stdin {
        /// The session.
        session: SessionId,
        /// The input, at most [`crate::DATA_CHUNK`] bytes.
        bytes: Vec<u8>,
    },
    /// No more input: the pipe is closed once it is empty; on a terminal, the end-of-file character is typed.
    StdinEof {
        /// The session.
        session: SessionId,
    },
    /// The terminal has a new size.
    Resize {
        /// The session.
        session: SessionId,
        /// The new size.
        size: WindowSize,
    },
    /// Output was written where it belongs: as much room is back in the session's [`crate::OUTPUT_WINDOW`].
    OutputTaken {
        /// The session.
        session: SessionId,
        /// How many bytes, of both streams together.
        bytes: u32,
    },
    /// Sends a signal to the command's process group.
    Signal {
        /// The session.
        session: SessionId,
        /// The number by Linux's x86 table (`signal(7)`).
        signal: u8,
    },
    /// Turns the guest off.
    PowerOff,
    /// Starts the guest anew.
    Reboot,
}

const KIND_START: u8 = 0x10;
const KIND_STDIN: u8 = 0x11;
const KIND_STDIN_EOF: u8 = 0x12;
const KIND_RESIZE: u8 = 0x13;
const KIND_SIGNAL: u8 = 0x14;
const KIND_OUTPUT_TAKEN: u8 = 0x15;
const KIND_POWER_OFF: u8 = 0x20;
const KIND_REBOOT: u8 = 0x21;

impl Request {
    /// The session that it is about, if it is about one.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Hello { .. } | Self::PowerOff | Self::Reboot => None,
            Self::Start { session, .. }
            | Self::Stdin { session, .. }
            | Self::StdinEof { session }
            | Self::Resize { session, .. }
            | Self::OutputTaken { session, .. }
            | Self::Signal { session, .. } => Some(*session),
        }
    }
}

impl Message for Request {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Self::Hello { version } => message::frame_hello(out, *version),
            Self::Start { session, command } => frame(out, KIND_START, *session, |out| command.write(out)),
            Self::Stdin { session, bytes } => {
                frame(out, KIND_STDIN, *session, |out| out.extend_from_slice(bytes))
            }
            Self::StdinEof { session } => frame(out, KIND_STDIN_EOF, *session, |_| {}),
            Self::Resize { session, size } => frame(out, KIND_RESIZE, *session, |out| size.write(out)),
            Self::OutputTaken { session, bytes } => frame(out, KIND_OUTPUT_TAKEN, *session, |out| {
                out.extend_from_slice(&bytes.to_le_bytes());
            }),
            Self::Signal { session, signal } => frame(out, KIND_SIGNAL, *session, |out| out.push(*signal)),
            Self::PowerOff => frame(out, KIND_POWER_OFF, SessionId(0), |_| {}),
            Self::Reboot => frame(out, KIND_REBOOT, SessionId(0), |_| {}),
        }
    }

    fn decode(kind: u8, session: SessionId, body: &[u8]) -> Option<Self> {
        let mut body = Body(body);
        let request = match kind {
            KIND_HELLO => Self::Hello { version: message::hello_version(&mut body)? },
            KIND_START => Self::Start { session, command: Command::read(&mut body)? },
            KIND_STDIN => Self::Stdin { session, bytes: body.rest() },
            KIND_STDIN_EOF => Self::StdinEof { session },
            KIND_RESIZE => Self::Resize { session, size: WindowSize::read(&mut body)? },
            KIND_OUTPUT_TAKEN => Self::OutputTaken { session, bytes: body.u32()? },
            KIND_SIGNAL => Self::Signal { session, signal: body.u8()? },
            KIND_POWER_OFF => Self::PowerOff,
            KIND_REBOOT => Self::Reboot,
            _ => return None,
        };
        body.0.is_empty().then_some(request)
    }
}
