//! The host's side of the conversation, for tests: the agent as an ordinary process behind a pseudo-terminal,
//! which is as much of a serial port as the agent can tell.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::ttyname;
use ringfence_agent::{
    Command, DATA_CHUNK, Decoder, Message, Reply, Request, SessionId, Status, VERSION, Window, WindowSize,
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent and the channel to it.
pub struct Host {
    agent: Child,
    channel: File,
    /// Keeps the channel from being hung up should the agent end.
    _slave: OwnedFd,
    decoder: Decoder<Reply>,
    heard: VecDeque<Reply>,
    last_session: u32,
    /// Is output that was heard said to be taken?
    pub takes: bool,
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: Status,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Host {
    /// Starts an agent and exchanges Hellos.
    pub fn new() -> Self {
        heed_interrupts();
        let pair = openpty(None, None).expect("a pseudo-terminal for the channel");
        let path = ttyname(&pair.slave).expect("its name");
        let agent = std::process::Command::new(env!("CARGO_BIN_EXE_ringfence-agent"))
            .arg("--channel")
            .arg(path)
            .spawn()
            .expect("the agent starts");
        let mut host = Self {
            agent,
            channel: pair.master.into(),
            _slave: pair.slave,
            decoder: Decoder::new(),
            heard: VecDeque::new(),
            last_session: 0,
            takes: true,
        };
        assert_eq!(host.hear(), Reply::Hello { version: VERSION });
        host.greet();
        host
    }

    /// Says Hello and waits for the answer.
    pub fn greet(&mut self) {
        self.say(&Request::Hello { version: VERSION });
        assert_eq!(self.hear(), Reply::Hello { version: VERSION });
    }

    pub fn say(&mut self, request: &Request) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes).expect("the tests' messages fit");
        self.say_raw(&bytes);
    }

    pub fn say_raw(&mut self, bytes: &[u8]) {
        self.channel.write_all(bytes).expect("the channel takes it");
    }

    /// The next message.
    pub fn hear(&mut self) -> Reply {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(reply) = self.heard.pop_front() {
                if let (Reply::Stdout { session, bytes } | Reply::Stderr { session, bytes }, true) =
                    (&reply, self.takes)
                {
                    let taken = Request::OutputTaken { session: *session, bytes: bytes.len() as u32 };
                    self.say(&taken);
                }
                return reply;
            }
            assert!(Instant::now() < deadline, "the agent has been silent for {PATIENCE:?}");
            let mut wait = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            if poll(&mut wait, PollTimeout::from(100_u8)).expect("the channel can be polled") == 0 {
                continue;
            }
            let mut bytes = [0; 4096];
            let count = self.channel.read(&mut bytes).expect("the channel can be read");
            self.decoder.push(&bytes[..count]);
            while let Some(reply) = self.decoder.next().expect("the agent speaks the protocol") {
                self.heard.push_back(reply);
            }
        }
    }

    /// Starts a command and returns its session.
    pub fn start(&mut self, command: Command) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        self.say(&Request::Start { session, command });
        session
    }

    /// Runs a command with `input` as its standard input, within the window, to its end.
    pub fn run(&mut self, command: Command, input: &[u8]) -> Outcome {
        let session = self.start(command);
        assert!(matches!(self.hear(), Reply::Started { session: of, pid } if of == session && pid > 1));
        let (mut window, mut rest, mut ended) = (Window::input(), input, false);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            while window.room() > 0 && !rest.is_empty() {
                let (piece, later) = rest.split_at(rest.len().min(window.room()).min(DATA_CHUNK));
                self.say(&Request::Stdin { session, bytes: piece.to_vec() });
                window.sent(piece.len());
                rest = later;
            }
            if rest.is_empty() && !ended {
                self.say(&Request::StdinEof { session });
                ended = true;
            }
            match self.hear() {
                Reply::Stdout { bytes, .. } => stdout.extend(bytes),
                Reply::Stderr { bytes, .. } => stderr.extend(bytes),
                Reply::StdinTaken { bytes, .. } => window.taken(bytes),
                Reply::Exited { session: of, status } if of == session => {
                    return Outcome { status, stdout, stderr };
                }
                other => panic!("{other:?} does not belong to session {session:?}"),
            }
        }
    }

    /// Collects a terminal's output until `sign` is in it.
    pub fn read_until(&mut self, sign: &str) -> String {
        let mut text = Vec::new();
        loop {
            match self.hear() {
                Reply::Stdout { bytes, .. } => text.extend(bytes),
                Reply::StdinTaken { .. } | Reply::Started { .. } => {}
                other => {
                    panic!("{other:?} where {sign:?} was expected after {}", String::from_utf8_lossy(&text))
                }
            }
            if String::from_utf8_lossy(&text).contains(sign) {
                return String::from_utf8_lossy(&text).into_owned();
            }
        }
    }

    /// Types on a session's terminal.
    pub fn type_in(&mut self, session: SessionId, text: &str) {
        self.say(&Request::Stdin { session, bytes: text.into() });
    }

    /// Waits for the end of a session and returns what it wrote until then, and how it ended.
    pub fn wait_for(&mut self, session: SessionId) -> Outcome {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.hear() {
                Reply::Stdout { bytes, session: of } if of == session => stdout.extend(bytes),
                Reply::Stderr { bytes, session: of } if of == session => stderr.extend(bytes),
                Reply::Exited { session: of, status } if of == session => {
                    return Outcome { status, stdout, stderr };
                }
                Reply::Started { .. } | Reply::StdinTaken { .. } => {}
                other => panic!("{other:?} while waiting for the end of {session:?}"),
            }
        }
    }

    /// Turns the agent off and waits for its end.
    pub fn power_off(mut self) -> ExitStatus {
        self.say(&Request::PowerOff);
        self.agent.wait().expect("the agent ends")
    }

    /// The agent's process.
    pub fn agent(&self) -> u32 {
        self.agent.id()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Gone already where the test got as far as power_off().
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// Whoever is started in the background ignores them, and so would the agent's commands, which cannot be in a machine.
#[allow(unsafe_code)] // signal(2)
fn heed_interrupts() {
    // SAFETY: the default action runs no code of ours.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.expect("a signal that can be heeded");
}

/// A command on pipes, or on a terminal of the given size.
pub fn command(argv: &[&str], tty: Option<WindowSize>) -> Command {
    let argv = argv.iter().map(|argument| CString::new(*argument).expect("no NUL in it")).collect();
    Command { argv, env: vec![], cwd: CString::default(), tty }
}

/// A shell script on pipes.
pub fn script(text: &str) -> Command {
    command(&["sh", "-c", text], None)
}
