//! What the agent says.

use crate::body::Body;
use crate::message::{self, KIND_HELLO, Message, TooLong, frame};
use crate::session::SessionId;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Code(u8),
    /// A signal of this number killed it.
    Signal(u8),
}

impl Status {
    /// The status as a shell has it in `$?`: a signal is 128 and its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// A message from the agent to the host. The guest wrote it: everything in it is a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The agent is up, or answers the host's Hello.
    Hello {
        /// The sender's [`crate::VERSION`].
        version: u16,
    },
    /// The command runs.
    Started {
        /// The session.
        session: SessionId,
        /// Its process in the guest, also its session and process group there.
        pid: u32,
    },
    /// What the command wrote to its standard output or its terminal.
    Stdout {
        /// The session.
        session: SessionId,
        /// The output, never empty.
        bytes: Vec<u8>,
    },
    /// What the command wrote to its standard error.
    Stderr {
        /// The session.
        session: SessionId,
        /// The output, never empty.
        bytes: Vec<u8>,
    },
    /// The command took input: as much room is back in the session's [`crate::Window`].
    StdinTaken {
        /// The session.
        session: SessionId,
        /// How many bytes.
        bytes: u32,
    },
    /// The command ended; the last message of its session.
    Exited {
        /// The session.
        session: SessionId,
        /// How it ended.
        status: Status,
    },
    /// The command could not be started; the only message of its session.
    Failed {
        /// The session.
        session: SessionId,
        /// What a shell would exit with: 127 where there is no such command, 126 where it cannot be run.
        code: u8,
        /// What happened, for a person. Not to be trusted to be printable.
        message: String,
    },
}

const KIND_STARTED: u8 = 0x80;
const KIND_STDOUT: u8 = 0x81;
const KIND_STDERR: u8 = 0x82;
const KIND_STDIN_TAKEN: u8 = 0x83;
const KIND_EXITED: u8 = 0x84;
const KIND_FAILED: u8 = 0x85;

impl Reply {
    /// The session that it is about; none for a Hello.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Hello { .. } => None,
            Self::Started { session, .. }
            | Self::Stdout { session, .. }
            | Self::Stderr { session, .. }
            | Self::StdinTaken { session, .. }
            | Self::Exited { session, .. }
            | Self::Failed { session, .. } => Some(*session),
        }
    }
}

impl Message for Reply {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Self::Hello { version } => message::frame_hello(out, *version),
            Self::Started { session, pid } => {
                frame(out, KIND_STARTED, *session, |out| out.extend_from_slice(&pid.to_le_bytes()))
            }
            Self::Stdout { session, bytes } => {
                frame(out, KIND_STDOUT, *session, |out| out.extend_from_slice(bytes))
            }
            Self::Stderr { session, bytes } => {
                frame(out, KIND_STDERR, *session, |out| out.extend_from_slice(bytes))
            }
            Self::StdinTaken { session, bytes } => {
                frame(out, KIND_STDIN_TAKEN, *session, |out| out.extend_from_slice(&bytes.to_le_bytes()))
            }
            Self::Exited { session, status } => {
                let pair = match *status {
                    Status::Code(code) => [0, code],
                    Status::Signal(signal) => [1, signal],
                };
                frame(out, KIND_EXITED, *session, |out| out.extend_from_slice(&pair))
            }
            Self::Failed { session, code, message } => frame(out, KIND_FAILED, *session, |out| {
                out.push(*code);
                out.extend_from_slice(message.as_bytes());
            }),
        }
    }

    fn decode(kind: u8, session: SessionId, body: &[u8]) -> Option<Self> {
        let mut body = Body(body);
        let reply = match kind {
            KIND_HELLO => Self::Hello { version: message::hello_version(&mut body)? },
            KIND_STARTED => Self::Started { session, pid: body.u32()? },
            KIND_STDOUT => Self::Stdout { session, bytes: body.rest() },
            KIND_STDERR => Self::Stderr { session, bytes: body.rest() },
            KIND_STDIN_TAKEN => Self::StdinTaken { session, bytes: body.u32()? },
            KIND_EXITED => match body.array()? {
                [0, code] => Self::Exited { session, status: Status::Code(code) },
                [1, signal] => Self::Exited { session, status: Status::Signal(signal) },
                _ => return None,
            },
            KIND_FAILED => {
                Self::Failed { session, code: body.u8()?, message: String::from_utf8(body.rest()).ok()? }
            }
            _ => return None,
        };
        body.0.is_empty().then_some(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_what_a_shell_would_say() {
        assert_eq!(Status::Code(7).exit_code(), 7);
        assert_eq!(Status::Signal(11).exit_code(), 139);
        assert_eq!(Status::Signal(255).exit_code(), 255);
    }
}
