//! Who gets what on the channel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent::{Decoder, Message, Reply, Request, SessionId, VERSION};
use crossbeam_channel::Sender;

use super::route::{Passed, Route};

/// What the hub has to know at once, however busy the channel is.
#[derive(Debug)]
pub enum News {
    /// A command's user comes, and takes replies here.
    Comes(SessionId, Sender<Reply>),
    /// He is gone.
    Goes(SessionId),
    /// The machine starts anew: there is no agent, and no command, until it says Hello.
    Restart,
    /// The guest is to go off: now, or when its agent is there.
    PowerOff,
}

/// The hub: no thread, no wire.
#[derive(Debug)]
pub struct Hub {
    decoders: Vec<Decoder<Reply>>,
    /// The wire that the agent is on, and its version.
    agent: Option<(usize, u16)>,
    /// Hellos of the agent that answer ours.
    answers: usize,
    routes: BTreeMap<SessionId, Route>,
    outgoing: Vec<u8>,
    /// The agent is to turn the guest off when it comes.
    goes_off: bool,
    up: Arc<AtomicBool>,
}

impl Hub {
    /// A hub of so many wires. `up` tells whether the agent is there.
    pub fn new(wires: usize, up: Arc<AtomicBool>) -> Self {
        let decoders = (0..wires).map(|_| Decoder::new()).collect();
        Self {
            decoders,
            agent: None,
            answers: 0,
            routes: BTreeMap::new(),
            outgoing: Vec::new(),
            goes_off: false,
            up,
        }
    }

    /// The wire that the agent is on, and what it shall get there.
    pub fn outgoing(&mut self) -> Option<(usize, &mut Vec<u8>)> {
        self.agent.map(|(wire, _)| (wire, &mut self.outgoing))
    }

    /// How much that is.
    pub fn backlog(&self) -> usize {
        self.outgoing.len()
    }

    /// The guest said this on a wire.
    pub fn hear(&mut self, wire: usize, bytes: &[u8]) {
        self.decoders[wire].push(bytes);
        loop {
            match self.decoders[wire].next() {
                Ok(Some(reply)) => self.take(wire, reply),
                Ok(None) => break,
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    fn take(&mut self, wire: usize, reply: Reply) {
        let Some(id) = reply.session() else {
            let Reply::Hello { version } = reply else { return };
            return self.greet(wire, version);
        };
        if self.agent.is_none_or(|(at, _)| at != wire) {
            return;
        }
        let Some(route) = self.routes.get_mut(&id) else {
            tracing::debug!(?reply, "for nobody");
            return;
        };
        match route.pass(reply) {
            Passed::On => {}
            Passed::OutOfTurn => tracing::debug!(id = id.0, "out of turn"),
            Passed::Discarded(bytes) => self.say(&Request::OutputTaken { session: id, bytes }),
            Passed::TooMuch => {
                tracing::warn!(
                    id = id.0,
                    "the guest's agent sends more output than it may; its command is left"
                );
                route.greet(VERSION);
            }
        }
        self.routes.retain(|_, route| !route.is_over());
    }

    /// A Hello, which is an answer to ours or a new beginning: the agent, and with it all commands, starts anew.
    fn greet(&mut self, wire: usize, version: u16) {
        let here = self.agent.is_some_and(|(at, _)| at == wire);
        if here && self.answers > 0 {
            self.answers -= 1;
            return;
        }
        self.agent = Some((wire, version));
        self.up.store(true, Ordering::Relaxed);
        self.outgoing.clear();
        self.answers = 1;
        self.say(&Request::Hello { version: VERSION });
        if std::mem::take(&mut self.goes_off) {
            self.say(&Request::PowerOff);
        }
        self.routes.values_mut().for_each(|route| route.greet(version));
        self.routes.retain(|_, route| !route.is_over());
    }

    /// Takes news in.
    pub fn learn(&mut self, news: News) {
        match news {
            News::Comes(id, user) => {
                let mut route = Route::new(id, user);
                if let Some((_, version)) = self.agent {
                    route.greet(version);
                }
                self.routes.insert(id, route);
            }
            News::Restart => self.forget(),
            News::PowerOff if self.agent.is_some() => self.say(&Request::PowerOff),
            News::PowerOff => self.goes_off = true,
            News::Goes(id) => {
                let Some(route) = self.routes.get_mut(&id) else { return };
                for request in route.abandon() {
                    self.say(&request);
                }
                self.routes.retain(|_, route| !route.is_over());
            }
        }
    }

    /// The agent that was there is no more.
    fn forget(&mut self) {
        let version = self.agent.take().map_or(VERSION, |(_, version)| version);
        self.up.store(false, Ordering::Relaxed);
        (self.answers, self.outgoing) = (0, Vec::new());
        self.decoders.fill_with(Decoder::new);
        self.routes.values_mut().filter(|route| route.is_begun()).for_each(|route| route.greet(version));
        self.routes.retain(|_, route| !route.is_over());
    }

    /// A user says this.
    pub fn pass_on(&mut self, request: &Request) {
        let said = match request.session() {
            Some(id) => self.routes.get_mut(&id).is_some_and(|route| route.says(request)),
            None => true,
        };
        if said && self.agent.is_some() {
            self.say(request);
        }
    }

    fn say(&mut self, request: &Request) {
        if let Err(error) = request.encode(&mut self.outgoing) {
            // Who starts a command looks before whether it fits.
            tracing::error!(%error, "the agent was not told");
        }
    }
}

#[cfg(test)]
mod tests;
