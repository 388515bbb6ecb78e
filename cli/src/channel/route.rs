//! What the hub knows of one command.
//!
//! Its user takes what the agent says in his own time, so what waits for him must have a bound, whatever the agent
//! says. It has: of output no more than the window may wait, of input no more may be reported as taken than was
//! sent, and everything else can be said once.

use agent::{OUTPUT_WINDOW, Reply, Request, STDIN_WINDOW, SessionId};
use crossbeam_channel::Sender;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No Start has gone out.
    Idle,
    Starting,
    Running,
    Over,
}

/// A command's way to its user.
#[derive(Debug)]
pub struct Route {
    id: SessionId,
    state: State,
    /// Nobody, once the user is gone and the command is not.
    user: Option<Sender<Reply>>,
    /// Bytes of output that wait for the user.
    output: usize,
    /// Bytes of input that wait for the command.
    input: usize,
}

/// What becomes of a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    /// It is on its way.
    On,
    /// There is nobody to take this output: the agent is to be told that it was taken.
    Discarded(u32),
    /// It makes no sense, and is dropped.
    OutOfTurn,
    /// More than may be: the guest does not keep to the protocol, and this command's user leaves it.
    TooMuch,
}

impl Route {
    /// For a new command.
    pub fn new(id: SessionId, user: Sender<Reply>) -> Self {
        Self { id, state: State::Idle, user: Some(user), output: 0, input: 0 }
    }

    /// The agent is there, or there anew; in that case the command is gone.
    pub fn greet(&mut self, version: u16) {
        self.tell(Reply::Hello { version });
        if self.state != State::Idle {
            self.state = State::Over;
        }
    }

    /// Has a Start gone out?
    pub fn is_begun(&self) -> bool {
        self.state != State::Idle
    }

    /// Is this the end of it?
    pub fn is_over(&self) -> bool {
        self.state == State::Over || self.state == State::Idle && self.user.is_none()
    }

    /// The user says this. False if it is not to be passed on.
    pub fn says(&mut self, request: &Request) -> bool {
        match (self.state, request) {
            (State::Idle, Request::Start { .. }) => self.state = State::Starting,
            (State::Starting | State::Running, Request::Stdin { bytes, .. }) => {
                if self.input + bytes.len() > STDIN_WINDOW {
                    return false; // the guest's buffers are for everyone
                }
                self.input += bytes.len();
            }
            (State::Starting | State::Running, Request::OutputTaken { bytes, .. }) => {
                self.output = self.output.saturating_sub(usize::try_from(*bytes).unwrap_or(usize::MAX));
            }
            (State::Starting | State::Running, _) => {}
            _ => return false,
        }
        true
    }

    /// The user is gone. Gives what the command is told.
    pub fn abandon(&mut self) -> Vec<Request> {
        self.user = None;
        if !matches!(self.state, State::Starting | State::Running) {
            return Vec::new();
        }
        let (session, bytes) = (self.id, u32::try_from(self.output).unwrap_or(u32::MAX));
        self.output = 0;
        let hang_up = Request::Signal { session, signal: signal_hook::consts::SIGHUP as u8 };
        vec![Request::OutputTaken { session, bytes }, Request::StdinEof { session }, hang_up]
    }

    /// The agent says this.
    pub fn pass(&mut self, reply: Reply) -> Passed {
        match (self.state, &reply) {
            (State::Starting, Reply::Started { .. }) => self.state = State::Running,
            (State::Starting, Reply::Failed { .. }) | (State::Running, Reply::Exited { .. }) => {
                self.state = State::Over;
            }
            (State::Running, Reply::Stdout { bytes, .. } | Reply::Stderr { bytes, .. }) => {
                if self.user.is_none() {
                    return Passed::Discarded(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                }
                self.output += bytes.len();
                if self.output > OUTPUT_WINDOW {
                    return Passed::TooMuch;
                }
            }
            (State::Running, &Reply::StdinTaken { bytes, .. }) => {
                match self.input.checked_sub(usize::try_from(bytes).unwrap_or(usize::MAX)) {
                    Some(left) if bytes > 0 => self.input = left,
                    _ => return Passed::OutOfTurn,
                }
            }
            _ => return Passed::OutOfTurn,
        }
        self.tell(reply);
        Passed::On
    }

    fn tell(&self, reply: Reply) {
        if let Some(user) = &self.user {
            // If he is gone, he will be closed in a moment.
            let _ = user.send(reply);
        }
    }
}
