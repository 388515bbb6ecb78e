//! The host's side of the conversation with the guest's agent about one command.
//!
//! No input or output of its own: what the agent says is [heard](Session::hear), what it shall hear is
//! [taken](Session::take_outgoing). The course is that of [`agent`]:
//!
//! ```text
//! Waiting ──Hello──► Starting ──Started──► Running ──Exited──► Over
//!                       └───────────Failed──────────────────────┘
//! ```
//!
//! The guest may lie: whatever comes in another order or for another session is dropped.

use std::collections::VecDeque;

use agent::{
    Command, DATA_CHUNK, Message, Reply, Request, SessionId, Status, TooLong, VERSION, Window, WindowSize,
};

/// Of the input so much is kept when the command does not read it. A pipe's is not even asked for beyond the window;
/// this bounds what is typed.
const TYPED_AHEAD: usize = 64 << 10;

/// What the guest said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The command runs.
    Started,
    /// It wrote to its standard output or terminal.
    Stdout(Vec<u8>),
    /// It wrote to its standard error.
    Stderr(Vec<u8>),
    /// It ended.
    Exited(Status),
    /// It could not be started.
    Failed {
        /// 126 or 127.
        code: u8,
        /// Why.
        message: String,
    },
    /// The agent speaks another version of the protocol.
    Version(u16),
    /// It is gone with the guest, which started anew.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Starting,
    Running,
    Over,
}

/// One command in the guest.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    state: State,
    terminal: bool,
    window: Window,
    /// Start, until the agent's Hello.
    opening: Option<Request>,
    outgoing: Vec<Request>,
    input: VecDeque<u8>,
    input_ended: bool,
    end_sent: bool,
}

impl Session {
    /// A conversation under this number that will run `command`.
    ///
    /// # Errors
    /// Where the command's arguments and environment do not fit into a message.
    pub fn new(id: SessionId, command: Command) -> Result<Self, TooLong> {
        let terminal = command.tty.is_some();
        let opening = Request::Start { session: id, command };
        opening.encode(&mut Vec::new())?;
        Ok(Self {
            id,
            state: State::Waiting,
            terminal,
            window: Window::input(),
            opening: Some(opening),
            outgoing: Vec::new(),
            input: VecDeque::new(),
            input_ended: false,
            end_sent: false,
        })
    }

    /// Takes in what the agent says. What it says of output is taken to be written.
    pub fn hear(&mut self, reply: Reply) -> Option<Heard> {
        use State::{Over, Running, Starting, Waiting};
        if reply.session().is_some_and(|session| session != self.id) {
            tracing::debug!(?reply, "of another command");
            return None;
        }
        let heard = match (self.state, reply) {
            (Waiting, Reply::Hello { version }) if version == VERSION => {
                self.outgoing.extend(self.opening.take());
                self.state = Starting;
                None
            }
            (Waiting, Reply::Hello { version }) => Some(Heard::Version(version)),
            (Starting | Running, Reply::Hello { .. }) => {
                self.state = Over;
                Some(Heard::Gone)
            }
            (Starting, Reply::Started { .. }) => {
                self.state = Running;
                Some(Heard::Started)
            }
            (Starting, Reply::Failed { code, message, .. }) => {
                self.state = Over;
                Some(Heard::Failed { code, message })
            }
            (Running, Reply::Stdout { bytes, .. }) => {
                self.say_taken(bytes.len());
                Some(Heard::Stdout(bytes))
            }
            (Running, Reply::Stderr { bytes, .. }) => {
                self.say_taken(bytes.len());
                Some(Heard::Stderr(bytes))
            }
            (Running, Reply::StdinTaken { bytes, .. }) => {
                self.window.taken(bytes);
                None
            }
            (Running, Reply::Exited { status, .. }) => {
                self.state = Over;
                Some(Heard::Exited(status))
            }
            (state, reply) => {
                tracing::debug!(?state, ?reply, "out of turn");
                None
            }
        };
        self.pump();
        heard
    }

    /// The line is dead: there will be no more replies.
    pub fn lose(&mut self) -> Option<Heard> {
        let lost = matches!(self.state, State::Starting | State::Running);
        self.state = State::Over;
        lost.then_some(Heard::Gone)
    }

    fn say_taken(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.outgoing.push(Request::OutputTaken { session: self.id, bytes });
    }

    /// Whether the command runs.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether the command has a terminal.
    pub fn has_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether more input is wanted now. What is typed always is: there may be a key for us in it.
    pub fn wants_input(&self) -> bool {
        self.terminal || self.is_running() && self.input.is_empty() && self.window.room() > 0
    }

    /// Input for the command. What nobody reads is kept to a bound, and beyond it lost.
    pub fn input(&mut self, bytes: &[u8]) {
        let room = TYPED_AHEAD - self.input.len();
        self.input.extend(&bytes[..bytes.len().min(room)]);
        self.pump();
    }

    /// There is no more input.
    pub fn end_input(&mut self) {
        self.input_ended = true;
        self.pump();
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: WindowSize) {
        self.say_while_running(Request::Resize { session: self.id, size });
    }

    /// Sends the command a signal. False where there is no command to send it to.
    pub fn signal(&mut self, signal: u8) -> bool {
        self.say_while_running(Request::Signal { session: self.id, signal });
        self.is_running()
    }

    /// Turns the guest off.
    pub fn power_off(&mut self) {
        self.outgoing.push(Request::PowerOff);
    }

    /// What the agent shall hear; empties it.
    pub fn take_outgoing(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.outgoing)
    }

    /// Sends as much input as the window lets through.
    fn pump(&mut self) {
        if !self.is_running() {
            return;
        }
        loop {
            let count = self.input.len().min(self.window.room()).min(DATA_CHUNK);
            if count == 0 {
                break;
            }
            let bytes = self.input.drain(..count).collect();
            self.window.sent(count);
            self.outgoing.push(Request::Stdin { session: self.id, bytes });
        }
        if self.input.is_empty() && self.input_ended && !self.end_sent {
            self.end_sent = true;
            self.outgoing.push(Request::StdinEof { session: self.id });
        }
    }

    fn say_while_running(&mut self, request: Request) {
        if self.is_running() {
            self.outgoing.push(request);
        }
    }
}

#[cfg(test)]
mod tests;
