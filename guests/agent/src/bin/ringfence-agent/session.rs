//! One command on behalf of the host, from its start to its last byte.
//!
//! A session outlives its process by as long as it takes to send what the process wrote. Not longer: a
//! background process that inherited the streams does not keep the session open, or `sh -c 'daemon &'` would
//! never return. So once the process is reaped we read on only until the streams are empty *now*, which
//! includes everything the process itself wrote, and at most [`LEFTOVERS`] bytes, in case somebody else keeps
//! writing.

use std::fs::File;

use ringfence_agent::{Command, Reply, SessionId, Status, Window, WindowSize};

use crate::channel::Channel;
use crate::input::Input;
use crate::output::{Output, Piece};
use crate::process::{Failure, Process};
use crate::syscall;

/// More than a pipe or a terminal can hold, unless someone enlarged the pipe by `F_SETPIPE_SZ` beyond an
/// unprivileged process's limit (`/proc/sys/fs/pipe-max-size`).
const LEFTOVERS: usize = 1 << 20;

/// One of a session's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Out,
    /// Standard error.
    Err,
}

/// A started command.
pub struct Session {
    id: SessionId,
    pid: u32,
    input: Input,
    stdout: Output,
    stderr: Output,
    terminal: Option<File>,
    /// What the host takes of the output.
    window: Window,
    /// How the process ended, if it did.
    status: Option<Status>,
    /// What may still be read after that.
    leftovers: usize,
}

impl Session {
    /// Starts a command.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start(id: SessionId, command: &Command) -> Result<Self, Failure> {
        let Process { pid, stdin, stdout, stderr, terminal } = Process::start(command)?;
        Ok(Self {
            id,
            pid,
            input: Input::new(stdin, terminal.is_some()),
            stdout: Output::new(Some(stdout)),
            stderr: Output::new(stderr),
            terminal,
            window: Window::output(),
            status: None,
            leftovers: LEFTOVERS,
        })
    }

    /// The command's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The host's input.
    pub fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// Hands input to the command and reports to the host what is gone.
    pub fn pump_input(&mut self, channel: &mut Channel) {
        let bytes = self.input.pump();
        if bytes > 0 {
            channel.send(&Reply::StdinTaken { session: self.id, bytes });
        }
    }

    /// The descriptor that input waits for.
    pub fn input_blocked_on(&self) -> Option<&File> {
        self.input.blocked_on()
    }

    /// The descriptor that output comes from; none while the host takes no more.
    pub fn source(&self, stream: Stream) -> Option<&File> {
        self.output(stream).source().filter(|_| self.window.room() > 0)
    }

    /// The host takes more output.
    pub fn output_taken(&mut self, bytes: u32) {
        self.window.taken(bytes);
    }

    /// Sends one piece of output. False where there was none, or no room for it.
    pub fn pump_output(&mut self, stream: Stream, channel: &mut Channel) -> bool {
        let session = self.id;
        let output = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        let Piece::Bytes(bytes) = output.read(self.window.room()) else {
            return false;
        };
        self.window.sent(bytes.len());
        if self.status.is_some() {
            self.leftovers = self.leftovers.saturating_sub(bytes.len());
        }
        channel.send(&match stream {
            Stream::Out => Reply::Stdout { session, bytes },
            Stream::Err => Reply::Stderr { session, bytes },
        });
        true
    }

    /// Gives the terminal a new size; means nothing where there is no terminal.
    pub fn resize(&self, size: WindowSize) {
        if let Some(terminal) = &self.terminal {
            // Cannot fail on a terminal that we hold open.
            let _ = syscall::resize(terminal, size);
        }
    }

    /// Signals the command's process group, unless the process is gone and its number perhaps somebody
    /// else's.
    pub fn signal(&self, signal: u8) {
        if self.status.is_none() {
            // What can fail is the number: there is no such signal, so nobody gets it.
            let _ = syscall::signal_group(self.pid, signal);
        }
    }

    /// The process ended.
    pub fn reaped(&mut self, status: Status) {
        self.status = Some(status);
    }

    /// Brings a session whose process ended to its end, as far as the channel and the host have room. True when Exited is
    /// sent.
    pub fn finish(&mut self, channel: &mut Channel) -> bool {
        let Some(status) = self.status else {
            return false;
        };
        for stream in [Stream::Out, Stream::Err] {
            while self.leftovers > 0 {
                if !channel.has_room() || self.window.room() == 0 {
                    return false;
                }
                if !self.pump_output(stream, channel) {
                    break;
                }
            }
        }
        channel.send(&Reply::Exited { session: self.id, status });
        true
    }

    fn output(&self, stream: Stream) -> &Output {
        match stream {
            Stream::Out => &self.stdout,
            Stream::Err => &self.stderr,
        }
    }
}
