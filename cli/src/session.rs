//! The host's side of the conversation with the guest's agent, for one command.
//!
//! No input or output of its own: what the guest sent is [heard](Session::hear), what it shall get is
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
    Command, DATA_CHUNK, Decoder, Message, Reply, Request, SessionId, Status, TooLong, VERSION, Window,
    WindowSize,
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
    state: State,
    terminal: bool,
    decoder: Decoder<Reply>,
    window: Window,
    /// Hello and Start, until the agent's Hello.
    opening: Vec<u8>,
    outgoing: Vec<u8>,
    input: VecDeque<u8>,
    input_ended: bool,
    end_sent: bool,
}

/// There is one command a machine, so one number.
const ID: SessionId = SessionId(1);

impl Session {
    /// A conversation that will run `command`.
    ///
    /// # Errors
    /// Where the command's arguments and environment do not fit into a message.
    pub fn new(command: Command) -> Result<Self, TooLong> {
        let terminal = command.tty.is_some();
        let mut opening = Vec::new();
        Request::Hello { version: VERSION }.encode(&mut opening)?;
        Request::Start { session: ID, command }.encode(&mut opening)?;
        Ok(Self {
            state: State::Waiting,
            terminal,
            decoder: Decoder::new(),
            window: Window::new(),
            opening,
            outgoing: Vec::new(),
            input: VecDeque::new(),
            input_ended: false,
            end_sent: false,
        })
    }

    /// Takes in what came from the guest.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.decoder.push(bytes);
        let mut all = Vec::new();
        loop {
            match self.decoder.next() {
                Ok(Some(reply)) => all.extend(self.take(reply)),
                Ok(None) => break,
                Err(error) => tracing::warn!("{error}"),
            }
        }
        self.pump();
        all
    }

    fn take(&mut self, reply: Reply) -> Option<Heard> {
        use State::{Over, Running, Starting, Waiting};
        match (self.state, reply) {
            (Waiting, Reply::Hello { version }) if version == VERSION => {
                self.outgoing.append(&mut self.opening);
                self.state = Starting;
                None
            }
            (Waiting, Reply::Hello { version }) => Some(Heard::Version(version)),
            (Starting, Reply::Started { session: ID, .. }) => {
                self.state = Running;
                Some(Heard::Started)
            }
            (Starting, Reply::Failed { session: ID, code, message }) => {
                self.state = Over;
                Some(Heard::Failed { code, message })
            }
            (Running, Reply::Stdout { session: ID, bytes }) => Some(Heard::Stdout(bytes)),
            (Running, Reply::Stderr { session: ID, bytes }) => Some(Heard::Stderr(bytes)),
            (Running, Reply::StdinTaken { session: ID, bytes }) => {
                self.window.taken(bytes);
                None
            }
            (Running, Reply::Exited { session: ID, status }) => {
                self.state = Over;
                Some(Heard::Exited(status))
            }
            (_, Reply::Hello { .. }) => None,
            (state, reply) => {
                tracing::debug!(?state, ?reply, "out of turn");
                None
            }
        }
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
        self.say_while_running(&Request::Resize { session: ID, size });
    }

    /// Sends the command a signal. False where there is no command to send it to.
    pub fn signal(&mut self, signal: u8) -> bool {
        self.say_while_running(&Request::Signal { session: ID, signal });
        self.is_running()
    }

    /// Turns the guest off.
    pub fn power_off(&mut self) {
        self.say(&Request::PowerOff);
    }

    /// What the guest shall get; empties it.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
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
            self.say(&Request::Stdin { session: ID, bytes });
        }
        if self.input.is_empty() && self.input_ended && !self.end_sent {
            self.end_sent = true;
            self.say(&Request::StdinEof { session: ID });
        }
    }

    fn say_while_running(&mut self, request: &Request) {
        if self.is_running() {
            self.say(request);
        }
    }

    fn say(&mut self, request: &Request) {
        if let Err(error) = request.encode(&mut self.outgoing) {
            unreachable!("only the command's own words can be too long: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
