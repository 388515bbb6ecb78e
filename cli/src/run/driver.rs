//! The loop of a run: waits for the guest, the user, signals and the clock at once, and tells the [`Talk`].
//!
//! ```text
//! Running ──ending is known──► Leaving ──GRACE──► Stopping ──the machine is off──► Off ──all is written──► done
//!    │             │              └───────── the machine is off ──────────────────► │
//!    │             └─ nothing to wait for ──────────► Stopping                      │
//!    └──────────────── the machine is off (then that is the ending) ──────────────► ┘
//! ```
//!
//! The loop never waits for anything but all of it. What cannot be passed on stays in [`Actions`]; while output
//! does, no more is taken from the guest that would make more, so nothing grows without bound.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::Reply;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGWINCH};

use super::ending::Ending;
use super::status::Status;
use super::talk::{Actions, Talk};
use crate::channel::Line;
use crate::console::{Lines, Sign};
use crate::message;
use crate::output::{Chunk, Output, Stream};
use crate::terminal::{self, Raw};

/// How long a guest that was asked to go off may take.
pub const GRACE: Duration = Duration::from_secs(3);
/// How long a system may take that has a disk to leave in order: as long as systemd gives a service to stop.
pub const ORDERLY: Duration = Duration::from_secs(90);
/// How long a kernel that panicked may go on to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often a serial port that is full is tried again.
const RETRY: Duration = Duration::from_millis(5);
/// Bytes under way to a port that holds 64 KiB itself; more input is not read, and what is typed all the same is lost.
const UNDER_WAY: usize = 64 << 10;
/// Requests under way to the agent; as for bytes.
const REQUESTS: usize = 64;
/// How long the last words of the agent may be on their way here when the machine is off already.
const LAST_REPLIES: Duration = Duration::from_millis(250);

/// Sends to a serial port of the guest's; gives how many bytes were taken, the first ones.
pub type Port = Box<dyn FnMut(&[u8]) -> usize + Send>;

/// Starts the machine anew. Gives the way to its agent, or what failed.
pub type Restart = Box<dyn FnMut() -> Result<Line, String>>;

/// The machine, as the loop needs it.
pub struct Guest {
    /// What COM1 writes.
    pub console: Receiver<Vec<u8>>,
    /// The way to its agent.
    pub agent: Option<Line>,
    /// COM1.
    pub com1: Port,
    /// Stops the machine.
    pub stop: Box<dyn Fn()>,
    /// How the machine went off, once it is.
    pub off: Receiver<Ending>,
    /// Starts it anew when the guest has reset it; `None` if that is its end.
    pub restart: Option<Restart>,
}

/// The user, as the loop needs him.
pub struct User {
    /// What he sends; disconnected at its end.
    pub input: Receiver<Vec<u8>>,
    /// Signals to us.
    pub signals: Receiver<i32>,
    /// Endings that somebody else asks for.
    pub orders: Receiver<Ending>,
    /// Where output goes.
    pub output: Output,
    /// His terminal, if every key is the guest's.
    pub raw: Option<Raw>,
}

/// How long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until the guest has started.
    pub boot: Duration,
    /// Until the end.
    pub whole: Option<Duration>,
}

/// How it was.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// Why the kernel panicked, if it did.
    pub panic: Option<String>,
    /// Whether the guest got as far as it was to get.
    pub started: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Leaving(Instant),
    Stopping,
    Off,
}

/// The loop's state.
pub struct Driver {
    guest: Guest,
    user: User,
    talk: Box<dyn Talk>,
    status: Arc<Status>,
    actions: Actions,
    lines: Lines,
    phase: Phase,
    boot: Duration,
    boot_until: Instant,
    until: Option<Instant>,
    panic: Option<(String, Instant)>,
    interrupted: bool,
    grace: Duration,
    /// The user does not want to wait: no output any more.
    hasty: bool,
    /// A sender that is never ready.
    nowhere: (Sender<Chunk>, Receiver<Chunk>),
}

impl Driver {
    /// A loop that is about to start; the limits count from now.
    pub fn new(guest: Guest, user: User, talk: Box<dyn Talk>, status: Arc<Status>, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            guest,
            user,
            talk,
            status,
            actions: Actions::default(),
            lines: Lines::default(),
            phase: Phase::Running,
            boot: limits.boot,
            boot_until: after(limits.boot),
            until: limits.whole.and_then(|whole| now.checked_add(whole)),
            panic: None,
            interrupted: false,
            grace: GRACE,
            hasty: false,
            nowhere: bounded(0),
        }
    }

    /// Gives the guest so long when it was asked to go off.
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Runs to the end. The terminal is as it was, and everything written, when this returns.
    pub fn run(mut self) -> Finished {
        loop {
            self.look_at_the_clock();
            self.proceed();
            self.feed();
            self.status.set_started(self.talk.has_started());
            if self.phase == Phase::Off && (self.actions.output.is_empty() || self.hasty) {
                break;
            }
            self.wait();
        }
        let started = self.talk.has_started();
        let Self { user: User { output, signals, raw, .. }, hasty, actions, panic, .. } = self;
        let Output { chunks, failed } = output;
        drop(chunks);
        if !hasty {
            await_written(&failed, &signals);
        }
        drop(raw);
        let ending = actions.ending.unwrap_or(Ending::Vanished);
        Finished { ending, panic: panic.map(|(reason, _)| reason), started }
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        if self.phase == Phase::Running {
            if self.until.is_some_and(|until| now >= until) {
                self.actions.end(Ending::TimeOut);
            }
            if self.panic.as_ref().is_some_and(|&(_, until)| now >= until) && !self.is_console() {
                self.actions.end(Ending::Panicked);
            }
            if !self.talk.has_started() && now >= self.boot_until {
                self.actions.end(Ending::NeverStarted);
            }
        }
        if matches!(self.phase, Phase::Leaving(until) if now >= until) {
            self.stop();
        }
    }

    /// The guest's console is the user's terminal: he sees for himself.
    fn is_console(&self) -> bool {
        self.user.raw.is_some() && self.talk.console_is_output()
    }

    /// Begins to leave when the ending is known.
    fn proceed(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        let gentle = match self.actions.ending {
            None => return,
            Some(Ending::Guest(_) | Ending::NotRun { .. }) => self.talk.leave(&mut self.actions),
            Some(_) => false,
        };
        match gentle {
            true => self.phase = Phase::Leaving(Instant::now() + self.grace),
            false => self.stop(),
        }
    }

    fn stop(&mut self) {
        (self.guest.stop)();
        self.phase = Phase::Stopping;
    }

    /// Passes on to the guest what it takes.
    fn feed(&mut self) {
        let com1 = &mut self.actions.com1;
        if !com1.is_empty() {
            let taken = (self.guest.com1)(com1).min(com1.len());
            com1.drain(..taken);
        }
        let requests = &mut self.actions.requests;
        while let Some(request) = requests.pop_front() {
            let Some(line) = &self.guest.agent else { continue };
            if let Err(TrySendError::Full(request)) = line.requests.try_send(request) {
                requests.push_front(request);
                break;
            }
        }
    }

    /// When something will have to be done even if nothing happens.
    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let mut next = now + Duration::from_secs(3600);
        if !self.actions.com1.is_empty() || !self.actions.requests.is_empty() {
            next = now + RETRY;
        }
        match self.phase {
            Phase::Running => {
                let boot = (!self.talk.has_started()).then_some(self.boot_until);
                let panic = self.panic.as_ref().map(|&(_, until)| until).filter(|_| !self.is_console());
                [self.until, boot, panic].into_iter().flatten().fold(next, Instant::min)
            }
            Phase::Leaving(until) => next.min(until),
            Phase::Stopping | Phase::Off => next,
        }
    }

    fn wait(&mut self) {
        let (no_bytes, no_reply, no_ending) = (never(), never(), never());
        let stuck = !self.actions.output.is_empty() && !self.hasty;
        let running = self.phase == Phase::Running;
        let is_off = self.phase == Phase::Off;
        let take_console = !(is_off || stuck && self.talk.console_is_output());
        let agent = self.guest.agent.as_ref().filter(|_| !(is_off || stuck));
        let take_input = running && (self.user.raw.is_some() || self.talk.wants_input() && self.has_room());
        let console = if take_console { &self.guest.console } else { &no_bytes }.clone();
        let agent = agent.map_or(&no_reply, |line| &line.replies).clone();
        let input = if take_input { &self.user.input } else { &no_bytes }.clone();
        let off = if is_off { &no_ending } else { &self.guest.off }.clone();
        let output = if stuck { &self.user.output.chunks } else { &self.nowhere.0 }.clone();
        let failed = self.user.output.failed.clone();
        select! {
            recv(console) -> bytes => self.hear_console(bytes.ok()),
            recv(agent) -> reply => self.hear_agent(reply.ok()),
            recv(off) -> ending => self.went_off(ending.unwrap_or(Ending::Vanished)),
            recv(input) -> bytes => self.hear_user(bytes.ok()),
            recv(self.user.signals) -> signal => self.hear_signal(signal.unwrap_or(SIGHUP)),
            recv(self.user.orders) -> ending => match ending {
                Ok(ending) => self.end_hastily(ending),
                Err(_) => self.user.orders = never(),
            },
            recv(failed) -> failure => if let Ok((stream, error)) = failure { self.output_failed(stream, error) },
            send(output, self.actions.output.pop_front().unwrap_or(Chunk { stream: Stream::Out, bytes: vec![] })) -> _ => {}
            default(self.next_deadline().saturating_duration_since(Instant::now())) => {}
        }
    }

    fn has_room(&self) -> bool {
        self.actions.com1.len() < UNDER_WAY && self.actions.requests.len() < REQUESTS
    }

    fn hear_console(&mut self, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else {
            self.guest.console = never();
            return;
        };
        let panic = &mut self.panic;
        self.lines.push(&bytes, |line| {
            if let Some(Sign::Panic(reason)) = Sign::of(line) {
                panic.get_or_insert_with(|| (reason, Instant::now() + LAST_WORDS));
            }
        });
        self.talk.console(&bytes, &mut self.actions);
        self.discard();
    }

    fn hear_agent(&mut self, reply: Option<Reply>) {
        if reply.is_none() {
            self.guest.agent = None;
        }
        self.talk.agent(reply, &mut self.actions);
        self.discard();
    }

    fn discard(&mut self) {
        if self.hasty {
            self.actions.output.clear();
        }
    }

    /// The machine is off. What it said before that counts first, and a guest that was up may start anew.
    fn went_off(&mut self, ending: Ending) {
        while let Ok(bytes) = self.guest.console.try_recv() {
            self.hear_console(Some(bytes));
        }
        self.hear_last_replies();
        if ending == Ending::Reset && self.may_restart() && self.restart() {
            return;
        }
        self.actions.end(ending);
        self.phase = Phase::Off;
    }

    /// Not when the run is over, and not after a panic, which the user should hear of.
    fn may_restart(&self) -> bool {
        let goes_on = self.phase == Phase::Running && self.actions.ending.is_none();
        goes_on && self.panic.is_none() && self.talk.has_started()
    }

    fn restart(&mut self) -> bool {
        let Some(restart) = &mut self.guest.restart else { return false };
        match restart() {
            Ok(line) => {
                self.talk.restart(line.id);
                self.guest.agent = Some(line);
                self.lines = Lines::default();
                self.boot_until = after(self.boot);
                self.status.reboots();
                true
            }
            Err(error) => {
                self.actions.end(Ending::Host(error));
                false
            }
        }
    }

    /// What the agent said before the end is on its way through the hub's thread.
    fn hear_last_replies(&mut self) {
        let until = Instant::now() + LAST_REPLIES;
        while let Some(line) = self.guest.agent.as_ref().filter(|_| self.actions.ending.is_none()) {
            match line.replies.recv_deadline(until) {
                Ok(reply) => self.hear_agent(Some(reply)),
                Err(_) => break,
            }
        }
    }

    fn hear_user(&mut self, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else {
            self.user.input = never();
            match self.user.raw {
                // The terminal is gone.
                Some(_) => self.actions.end(Ending::Signal(SIGHUP)),
                None => self.talk.end_input(&mut self.actions),
            }
            return;
        };
        let (bytes, leaves) = match self.user.raw {
            Some(_) => terminal::before_leaving(&bytes),
            None => (&bytes[..], false),
        };
        let boots = self.user.raw.is_some() && !self.talk.has_started();
        if boots && bytes.contains(&terminal::INTERRUPT) {
            self.end_hastily(Ending::Signal(SIGINT));
        } else if self.has_room() {
            self.talk.input(bytes, &mut self.actions);
        }
        if leaves {
            self.end_hastily(Ending::Left);
        }
    }

    fn hear_signal(&mut self, signal: i32) {
        match signal {
            SIGWINCH => self.talk.resized(&mut self.actions),
            SIGCONT => {
                if let Some(raw) = &self.user.raw {
                    raw.renew();
                }
                self.talk.resized(&mut self.actions);
            }
            SIGINT if self.phase == Phase::Running && !self.interrupted && self.interrupt_command() => {
                self.interrupted = true;
                message::note("interrupted the command in the guest; once more stops the machine");
            }
            signal => self.end_hastily(Ending::Signal(signal)),
        }
    }

    fn interrupt_command(&mut self) -> bool {
        self.talk.signal(SIGINT as u8, &mut self.actions)
    }

    /// The user has had enough.
    fn end_hastily(&mut self, ending: Ending) {
        self.actions.end(ending);
        self.hasty = true;
        self.discard();
        if self.phase != Phase::Off {
            self.stop();
        }
    }

    /// Nobody reads our output any more: the command is told in the way a process is.
    fn output_failed(&mut self, stream: Stream, error: io::Error) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.actions.end(Ending::Output(stream, error.to_string()));
        } else if !self.talk.signal(SIGPIPE as u8, &mut self.actions) {
            self.actions.end(Ending::Signal(SIGPIPE));
        }
    }
}

/// So long from now; beyond what the clock can tell is as good as never.
fn after(span: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(span).unwrap_or(now + Duration::from_secs(u32::MAX.into()))
}

/// Waits until the thread that writes has ended, or the user has had enough.
fn await_written(failed: &Receiver<(Stream, io::Error)>, signals: &Receiver<i32>) {
    loop {
        select! {
            recv(failed) -> failure => if failure.is_err() { return },
            recv(signals) -> signal => if signal.is_ok_and(ends) { return },
        }
    }
}

/// Does this signal ask for an end?
fn ends(signal: i32) -> bool {
    signal != SIGWINCH && signal != SIGCONT
}

#[cfg(test)]
mod tests;
