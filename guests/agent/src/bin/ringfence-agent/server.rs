//! The loop: one `poll` over the channel, the reaper and the streams of all sessions.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringfence_agent::{Command, MAX_SESSIONS, Reply, Request, SessionId, VERSION};

use crate::channel::Channel;
use crate::console;
use crate::power::Ending;
use crate::process::Failure;
use crate::reaper::Reaper;
use crate::session::{Session, Stream};

/// The agent at work.
pub struct Server {
    channel: Channel,
    reaper: Reaper,
    sessions: BTreeMap<SessionId, Session>,
}

/// What a ready descriptor is.
#[derive(Debug, Clone, Copy)]
enum Source {
    Channel,
    Reaper,
    Input(SessionId),
    Output(SessionId, Stream),
}

impl Server {
    /// A server without sessions.
    ///
    /// # Errors
    /// As [`Reaper::new`].
    pub fn new(channel: Channel) -> io::Result<Self> {
        Ok(Self { channel, reaper: Reaper::new()?, sessions: BTreeMap::new() })
    }

    /// Serves until the host ends it.
    ///
    /// # Errors
    /// Those of the channel, without which there is nothing left to serve; its end is one.
    pub fn run(&mut self) -> io::Result<Ending> {
        loop {
            for source in self.wait()? {
                match source {
                    Source::Channel => {
                        if let Some(ending) = self.hear()? {
                            self.channel.finish();
                            return Ok(ending);
                        }
                    }
                    Source::Reaper => self.reap(),
                    Source::Input(id) => {
                        if let Some(session) = self.sessions.get_mut(&id) {
                            session.pump_input(&mut self.channel);
                        }
                    }
                    Source::Output(id, stream) => {
                        if let Some(session) = self.sessions.get_mut(&id) {
                            session.pump_output(stream, &mut self.channel);
                        }
                    }
                }
            }
            self.sessions.retain(|_, session| !session.finish(&mut self.channel));
            self.channel.flush()?;
        }
    }

    /// Waits for something to do. While the channel is full, output stays where it is.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Channel, Source::Reaper];
        let mut descriptors = vec![
            PollFd::new(self.channel.as_fd(), self.channel.interest()),
            PollFd::new(self.reaper.as_fd(), PollFlags::POLLIN),
        ];
        for (&id, session) in &self.sessions {
            if let Some(sink) = session.input_blocked_on() {
                sources.push(Source::Input(id));
                descriptors.push(PollFd::new(sink.as_fd(), PollFlags::POLLOUT));
            }
            for stream in [Stream::Out, Stream::Err] {
                if let Some(source) = session.source(stream).filter(|_| self.channel.has_room()) {
                    sources.push(Source::Output(id, stream));
                    descriptors.push(PollFd::new(source.as_fd(), PollFlags::POLLIN));
                }
            }
        }
        while let Err(error) = poll(&mut descriptors, PollTimeout::NONE) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        let ready = |descriptor: &PollFd<'_>| descriptor.revents().is_some_and(|events| !events.is_empty());
        Ok(sources
            .into_iter()
            .zip(&descriptors)
            .filter(|(_, descriptor)| ready(descriptor))
            .map(|(s, _)| s)
            .collect())
    }

    /// Takes in what the host said. Something that is not of the protocol is the host's mistake: it is said
    /// on the console, and to the host by a Hello, which it has to answer before it is heard again.
    fn hear(&mut self) -> io::Result<Option<Ending>> {
        if !self.channel.receive()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        loop {
            match self.channel.next() {
                Ok(Some(request)) => {
                    if let Some(ending) = self.obey(request) {
                        return Ok(Some(ending));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    console::say(&error.to_string());
                    self.channel.hello();
                }
            }
        }
    }

    fn obey(&mut self, request: Request) -> Option<Ending> {
        match request {
            Request::Hello { version } => {
                if version != VERSION {
                    console::say(&format!("the host speaks protocol {version}, this agent {VERSION}"));
                }
                self.channel.hello();
            }
            Request::Start { session, command } => self.start(session, &command),
            Request::Stdin { session, bytes } => self.with(session, |session, channel| {
                session.input().push(&bytes);
                session.pump_input(channel);
            }),
            Request::StdinEof { session } => self.with(session, |session, channel| {
                session.input().end();
                session.pump_input(channel);
            }),
            Request::Resize { session, size } => self.with(session, |session, _| session.resize(size)),
            Request::OutputTaken { session, bytes } => {
                self.with(session, |session, _| session.output_taken(bytes));
            }
            Request::Signal { session, signal } => self.with(session, |session, _| session.signal(signal)),
            Request::PowerOff => return Some(Ending::PowerOff),
            Request::Reboot => return Some(Ending::Reboot),
        }
        None
    }

    /// Does something with a session, unless it has ended: then the host just does not know it yet.
    fn with(&mut self, id: SessionId, action: impl FnOnce(&mut Session, &mut Channel)) {
        if let Some(session) = self.sessions.get_mut(&id) {
            action(session, &mut self.channel);
        }
    }

    fn start(&mut self, id: SessionId, command: &Command) {
        let started = if self.sessions.contains_key(&id) {
            // Its other messages would be taken for the older session's.
            console::say(&format!("the host started session {} twice", id.0));
            return;
        } else if self.sessions.len() >= MAX_SESSIONS {
            let message = format!("{MAX_SESSIONS} commands run in the guest already; wait for one to end");
            Err(Failure { code: 126, message })
        } else {
            Session::start(id, command)
        };
        match started {
            Ok(session) => {
                self.channel.send(&Reply::Started { session: id, pid: session.pid() });
                self.sessions.insert(id, session);
            }
            Err(Failure { code, message }) => {
                self.channel.send(&Reply::Failed { session: id, code, message })
            }
        }
    }

    /// Takes the status of all that ended; orphans' are for nobody.
    fn reap(&mut self) {
        while let Some((pid, status)) = self.reaper.reap() {
            if let Some(session) = self.sessions.values_mut().find(|session| session.pid() == pid) {
                session.reaped(status);
            }
        }
    }
}
