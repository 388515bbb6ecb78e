//! The machine, as its control socket's server sees it.
//!
//! Each client has a thread of his own here. What he asks for is done on it at once ([`Served::obey`]), or is a stream that
//! it carries: [`exec`], [`console`]. What ends the run goes through the loop of the run, like everything that does.

mod bay;
mod console;
mod exec;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backend::{block, net};
use control::{Connection, DeviceKind, Facts, Machine, Name, Problem, ProblemKind, Reply, Request};
use crossbeam_channel::Sender;
use machine::{StateError, Vm};
use virtio::BalloonHandle;

use super::devices;
use super::ending::Ending;
use super::status::Status;
use crate::args::show_size;
use crate::channel::Channel;
use crate::console::Taps;
use crate::failure::Failure;

pub use bay::{Bay, Fitting, Layout};

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
    /// Its devices.
    pub bay: Bay,
    /// Its balloon.
    pub balloon: Option<BalloonHandle>,
    /// The way to its agent.
    pub channel: Channel,
    /// The way to its console.
    pub taps: Taps,
    /// Where it is in its life.
    pub status: Arc<Status>,
    /// Ends the run.
    pub orders: Sender<Ending>,
}

impl Served {
    fn has_agent(&self) -> bool {
        self.identity.has_agent || self.channel.is_up()
    }

    fn facts(&self) -> Facts {
        let Identity { name, image, engine, has_agent: _, detached, console_log } = &self.identity;
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
            balloon: self.balloon.as_ref().map(BalloonHandle::actual),
            started,
            uptime,
            reboots: self.status.times_rebooted(),
            has_agent: self.has_agent(),
            detached: *detached,
            console_log: console_log.clone(),
            devices: self.bay.devices(),
        }
    }

    fn stop(&self, button: bool) -> Reply {
        self.status.set_stopping();
        if self.has_agent() && !button {
            self.channel.power_off();
        }
        if button || !self.channel.is_up() {
            self.vm.press_power_button();
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

    fn attach_disk(&self, text: &str) -> Result<Reply, Problem> {
        let spec: block::Spec = text.parse().map_err(|error| Problem::new(ProblemKind::Invalid, error))?;
        if !Path::new(&spec.source.path).is_absolute() {
            return Err(Problem::new(ProblemKind::Invalid, "the disk's path is not absolute"));
        }
        let plug = devices::disk(&spec, self.vm.config().vcpus).map_err(problem)?;
        let id = self.bay.attach(DeviceKind::Disk, text.to_owned(), plug)?;
        Ok(Reply::Attached { id })
    }

    fn attach_net(&self, text: &str) -> Result<Reply, Problem> {
        let spec: net::Spec = text.parse().map_err(|error| Problem::new(ProblemKind::Invalid, error))?;
        let plug = devices::interface(&spec, self.vm.config().vcpus).map_err(problem)?;
        let plug =
            plug.ok_or_else(|| Problem::new(ProblemKind::Invalid, "`none` is no network to attach"))?;
        let id = self.bay.attach(DeviceKind::Net, text.to_owned(), plug)?;
        Ok(Reply::Attached { id })
    }

    fn set_balloon(&self, bytes: u64) -> Result<Reply, Problem> {
        let Some(balloon) = &self.balloon else {
            let problem = Problem::new(ProblemKind::Unavailable, "the machine has no balloon");
            return Err(problem.hint("start it with `ringfence run --balloon`"));
        };
        let memory = self.vm.config().memory;
        if bytes >= memory {
            let text = format!("the guest has {}; it cannot give {}", show_size(memory), show_size(bytes));
            return Err(Problem::new(ProblemKind::Invalid, text));
        }
        balloon.set_target(bytes);
        Ok(Reply::Done)
    }

    fn begin_exec(&self, exec: control::Exec) -> Result<Reply, Problem> {
        exec::command(exec)?;
        if self.has_agent() {
            return Ok(Reply::Streaming);
        }
        let name = &self.identity.name;
        let text = format!("the guest of `{name}` has no agent that runs commands, or it is not up yet");
        let hint = format!("`ringfence console {name}` shows how far the guest is");
        Err(Problem::new(ProblemKind::Unavailable, text).hint(hint))
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
            Request::AttachDisk { disk } => self.attach_disk(&disk),
            Request::AttachNet { net } => self.attach_net(&net),
            Request::Detach { id, wait } => {
                self.bay.detach(&id, Duration::from_millis(wait)).map(|()| Reply::Done)
            }
            Request::Balloon { bytes } => self.set_balloon(bytes),
            Request::Exec(exec) => self.begin_exec(exec),
            Request::Console {} => Ok(Reply::Streaming),
        }
    }

    fn stream(&self, request: Request, connection: Connection) {
        match request {
            Request::Exec(exec) => {
                if let Ok(command) = exec::command(exec) {
                    exec::carry(&self.channel.open(), command, connection);
                }
            }
            Request::Console {} => {
                if let Some(input) = self.vm.console_input(0) {
                    console::carry(&self.taps.open(), &input, connection);
                }
            }
            _ => {}
        }
    }
}

fn ended(error: StateError) -> Problem {
    Problem::new(ProblemKind::Unavailable, error)
}

fn problem(failure: Failure) -> Problem {
    let kind = match failure.status {
        2 => ProblemKind::Invalid,
        _ => ProblemKind::Host,
    };
    Problem { hint: failure.hint.clone(), ..Problem::new(kind, failure) }
}
