//! The machine, as its control socket's server sees it.

use std::path::PathBuf;
use std::sync::Arc;

use control::{Connection, Facts, Machine, Name, Problem, ProblemKind, Reply, Request};
use crossbeam_channel::Sender;
use machine::{StateError, Vm};

use super::ending::Ending;
use super::status::Status;
use crate::channel::Channel;

/// What does not change about it.
pub struct Identity {
    /// Its name.
    pub name: Name,
    /// The image or kernel.
    pub image: String,
    /// The engine.
    pub engine: &'static str,
    /// Is the guest to have the agent?
    pub has_agent: bool,
    /// Does it run in the background?
    pub detached: bool,
    /// Where its console's log is.
    pub console_log: Option<PathBuf>,
}

/// A machine that is served.
pub struct Served {
    /// Who it is.
    pub identity: Identity,
    /// The machine.
    pub vm: Arc<Vm>,
    /// The way to its agent.
    pub channel: Channel,
    /// Where it is in its life.
    pub status: Arc<Status>,
    /// Ends the run.
    pub orders: Sender<Ending>,
}

impl Served {
    fn facts(&self) -> Facts {
        let Identity { name, image, engine, has_agent, detached, console_log } = &self.identity;
        let config = self.vm.config();
        let (started, uptime) = self.status.began();
        Facts {
            name: name.clone(),
            pid: std::process::id(),
            image: image.clone(),
            state: self.status.state(),
            engine: (*engine).to_owned(),
            vcpus: config.vcpus,
            memory: config.memory,
            balloon: None,
            started,
            uptime,
            reboots: self.status.times_rebooted(),
            has_agent: *has_agent || self.channel.is_up(),
            detached: *detached,
            console_log: console_log.clone(),
            devices: vec![],
        }
    }

    fn stop(&self, button: bool) -> Reply {
        self.status.set_stopping();
        match self.channel.is_up() && !button {
            true => self.channel.power_off(),
            false => self.vm.press_power_button(),
        }
        Reply::Done
    }

    fn kill(&self) -> Reply {
        // If it is full, the run ends already.
        let _ = self.orders.try_send(Ending::Killed);
        Reply::Done
    }

    fn pause(&self) -> Result<Reply, Problem> {
        self.vm.pause().map_err(ended)?;
        self.status.set_paused(true);
        Ok(Reply::Done)
    }

    fn resume(&self) -> Result<Reply, Problem> {
        self.vm.resume().map_err(ended)?;
        self.status.set_paused(false);
        Ok(Reply::Done)
    }
}

impl Machine for Served {
    fn obey(&self, request: Request) -> Result<Reply, Problem> {
        tracing::debug!(?request, "asked for");
        match request {
            Request::Info {} => Ok(Reply::Info(self.facts())),
            Request::Stop { button } => Ok(self.stop(button)),
            Request::Kill {} => Ok(self.kill()),
            Request::Pause {} => self.pause(),
            Request::Resume {} => self.resume(),
            _ => Err(Problem::new(ProblemKind::Unavailable, "this machine does not do that")),
        }
    }

    fn stream(&self, _: Request, _: Connection) {}
}

fn ended(error: StateError) -> Problem {
    Problem::new(ProblemKind::Unavailable, error)
}
