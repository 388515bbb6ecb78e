//! `ringfence run`.
//!
//! ```text
//! RunArgs ─plan─► Plan ─vm─► Machine ──► Driver { Guest, User, Talk } ──► Finished ─ending─► status or Failure
//! ```
//!
//! Where to start reading: [`plan`] says what is run, [`driver`] is the loop, [`talk`] what differs between guests
//! with our agent ([`command`]), guests whose serial port is the terminal ([`serial`]) and guests that take a command
//! on the kernel's command line ([`exec`]); [`ending`] is what comes of it.

mod background;
mod boot;
mod command;
mod devices;
mod driver;
mod ending;
mod exec;
mod files;
mod host_memory;
mod idle;
mod image_disk;
mod installing;
mod plan;
mod remote;
mod serial;
mod served;
mod sharing;
mod stats;
mod status;
mod stowed;
mod system;
mod talk;
mod vm;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

use agent::SessionId;
use control::{Claim, Name, Registry, Server};
use crossbeam_channel::{bounded, never};
use engine::EngineError;
use machine::BuildError;

use crate::args::{RunArgs, show_size};
use crate::channel::{AgentPort, Channel};
use crate::console::{Lines, Log};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Booting;
use crate::terminal::Raw;
use crate::{input, message, signals};

use boot::Boot;
use command::CommandTalk;
use driver::{Driver, Limits, Restart, User};
use ending::Context;
use exec::ExecTalk;
use idle::IdleTalk;
pub use installing::Installing;
use plan::{Plan, SELFTEST, Way};
pub use remote::exec;
use serial::SerialTalk;
use served::{Bay, Identity, Layout, Served};
use stats::Stats;
use status::Status;
use stowed::Stowed;
use talk::Talk;
use vm::Machine;

/// Runs a machine to its end. Gives the exit status.
///
/// # Errors
/// What the user is to be told instead.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    if args.detach && !args.behind {
        return background::start();
    }
    let claim = claim(args)?;
    let Plan { name, config, images, disks, way, has_agent } = plan::plan(args)?;
    let interactive = is_interactive(&way) && !args.detach;
    let (port, wire) = AgentPort::open().map_err(cannot("make a port for the guest's agent"))?;
    let (shared, _file) = sharing::open(&args.sharing)?;
    let grace = if disks.is_empty() { driver::GRACE } else { driver::ORDERLY };
    let (fittings, balloon) = devices::fittings(args, &disks, shared, port)?;
    let (plugs, layout) = Layout::of(fittings);
    let again = may_reboot(args, &way, &name).then(|| Stowed::new(&images));
    let log = open_log(args, &name)?;
    let context = Context {
        timeout: args.timeout,
        boot_timeout: args.boot_timeout,
        log: log.as_ref().map(|log| log.path().to_owned()),
        awaits_command: !args.command.is_empty(),
        selftest: name == SELFTEST,
    };
    let engine = vm::engine(args.engine, &config);
    let machine =
        Machine::build(config, images, plugs, &*engine, log).map_err(|error| explain(error, &name))?;
    let (machine, com2) = machine.with_wire();
    let channel = Channel::start(com2.into_iter().chain([wire]).collect())
        .map_err(cannot("start the agent's thread"))?;
    let line = channel.open();
    let signals = signals::listen().map_err(cannot("listen to signals"))?;
    if interactive {
        announce(args, &name, engine.name());
    }
    let status = Arc::new(Status::new());
    let (order, orders) = bounded(1);
    let identity = Identity {
        name: claim.as_ref().map_or_else(Name::by_chance, |claim| claim.name().clone()),
        image: name.clone(),
        engine: engine.name(),
        has_agent,
        detached: args.detach,
        console_log: context.log.clone(),
    };
    let vm = Arc::clone(machine.vm());
    let served = Served {
        identity,
        bay: Bay::new(Arc::clone(&vm), layout),
        vm,
        balloon,
        channel: channel.clone(),
        taps: machine.taps(),
        status: Arc::clone(&status),
        orders: order,
    };
    let talk = match args.detach {
        true => Box::new(IdleTalk::new(matches!(way, Way::Agent(_)))),
        false => talk(way, line.id, &name, interactive)?,
    };
    let input = match args.detach {
        true => never(),
        false => input::listen().map_err(cannot("read standard input"))?,
    };
    let output = Output::start().map_err(cannot("write standard output"))?;
    let raw = interactive.then(Raw::enter).transpose().map_err(cannot("set the terminal to raw mode"))?;
    let user = User { input, signals, orders, output, raw };
    let limits = Limits { boot: args.boot_timeout, whole: args.timeout };
    let began = Instant::now();
    let (mut guest, view) = machine.start().map_err(cannot("start the machine's thread"))?;
    guest.agent = Some(line);
    guest.restart = again.map(|images| -> Restart {
        let view = view.clone();
        Box::new(move || {
            channel.restart();
            images.images().and_then(|images| view.restart(&images)).map(|()| channel.open())
        })
    });
    let machine_name = served.identity.name.clone();
    let server = serve(claim, served)?;
    if args.detach {
        background::leave(&machine_name, &name).map_err(cannot("leave the terminal"))?;
    }
    let driver = Driver::new(guest, user, talk, status, limits).with_grace(grace);
    let finished = driver.run();
    drop(server);
    tracing::debug!(?finished, "the run is over");
    if args.stats {
        let stats = Stats::new(engine.name(), began.elapsed(), view.statistics(), view.details());
        print_stats(&stats, args.json);
    }
    context.conclude(finished)
}

/// Does a reset by the guest start it anew? A command or script would be run twice, so there it ends the run.
fn may_reboot(args: &RunArgs, way: &Way, name: &str) -> bool {
    let runs_once = match way {
        Way::Agent(wish) => !(wish.argv.is_empty() && (wish.tty || args.detach)),
        Way::Exec => true,
        Way::Serial | Way::Shell => name == SELFTEST,
    };
    !args.no_reboot && !runs_once
}

/// Takes the machine's name. A name that the user gave must be had; without one, a machine is as well not found.
fn claim(args: &RunArgs) -> Result<Option<Claim>, Failure> {
    let registry = Registry::open();
    match &args.name {
        Some(name) => Ok(Some(registry?.claim(name)?)),
        None => match registry.and_then(|registry| registry.claim_any()) {
            Ok(claim) => Ok(Some(claim)),
            Err(error) => {
                message::note(format_args!("`ringfence ps` will not know of this machine: {error}"));
                Ok(None)
            }
        },
    }
}

/// Lets other commands reach the machine.
fn serve(claim: Option<Claim>, served: Served) -> Result<Option<Server>, Failure> {
    let start = |claim| Server::start(claim, Arc::new(served));
    claim.map(start).transpose().map_err(cannot("listen at the control socket"))
}

/// Is every key the guest's?
fn is_interactive(way: &Way) -> bool {
    match way {
        Way::Agent(wish) => wish.tty,
        Way::Serial | Way::Shell => io::stdin().is_terminal(),
        Way::Exec => false,
    }
}

fn talk(way: Way, id: SessionId, name: &str, interactive: bool) -> Result<Box<dyn Talk>, Failure> {
    let name = name.to_owned();
    let boot = move || match interactive {
        true if message::is_quiet() || !io::stdout().is_terminal() => Boot::Silent,
        true => Boot::Console { dim: takes_colour(), shown: false },
        false => Boot::Line { line: Booting::show(&name), lines: Lines::default() },
    };
    Ok(match way {
        Way::Agent(wish) => Box::new(CommandTalk::new(id, wish, Box::new(boot)).map_err(Failure::usage)?),
        Way::Exec => Box::new(ExecTalk::new(boot())),
        Way::Serial => Box::new(SerialTalk::plain()),
        Way::Shell => Box::new(SerialTalk::shell()),
    })
}

fn takes_colour() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

fn announce(args: &RunArgs, name: &str, engine: &str) {
    let memory = show_size(args.memory);
    let vcpus = if args.vcpus == 1 { "1 vCPU".to_owned() } else { format!("{} vCPUs", args.vcpus) };
    message::say(format_args!("booting {name}: {memory}, {vcpus}, engine {engine}; Ctrl-] leaves"));
}

/// A log that the user named must be; the one that comes by itself is as well left out.
fn open_log(args: &RunArgs, name: &str) -> Result<Option<Log>, Failure> {
    match &args.console_log {
        Some(path) => match Log::create(path) {
            Ok(log) => Ok(Some(log)),
            Err(error) => {
                Err(Failure::usage(format!("cannot write the console log {}: {error}", path.display())))
            }
        },
        None => Ok(Log::create_for(name)
            .inspect_err(|error| message::note(format_args!("there will be no console log: {error}")))
            .ok()),
    }
}

/// What is wrong with the machine is the user's to mend if he asked for it, and the host's otherwise.
fn explain(error: BuildError, name: &str) -> Failure {
    use machine::load::LoadError::{InitrdTooLarge, MemoryTooSmall};
    match &error {
        BuildError::Load(MemoryTooSmall { .. } | InitrdTooLarge { .. }) => {
            Failure::usage(format!("{name}: {error}")).hint("for example: --memory 1G")
        }
        BuildError::Load(_) => Failure::usage(format!("{name}: {error}")),
        BuildError::Vcpus(_) | BuildError::TooMuchMemory(_) => Failure::usage(error),
        BuildError::Engine(EngineError::Unsupported { .. }) => Failure::usage(error),
        BuildError::Memory(_) | BuildError::Engine(_) | BuildError::Function(_) => Failure::host(error),
    }
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::host(format!("cannot {what}: {error}"))
}

fn print_stats(stats: &Stats, json: bool) {
    let text = match json {
        true => serde_json::to_string(stats).unwrap_or_else(|error| error.to_string()),
        false => stats.to_string(),
    };
    // There is nobody to tell when standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
