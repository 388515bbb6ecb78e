//! The `ringfence` command.
//!
//! A file or folder for each noun of it: [`args`] is the command line, [`run`] the longest of the commands,
//! [`life`] has those that reach running machines, [`image`], [`disk`], [`doctor`] and [`manual`] are the others; [`exit`] and [`failure`] are how they end, [`message`]
//! what they say. What a run needs of the host is in [`terminal`], [`signals`], [`input`], [`output`] and [`console`];
//! the conversation with the guest's agent in [`channel`] and [`session`].

mod args;
mod channel;
mod console;
mod disk;
mod doctor;
mod exit;
mod failure;
mod heap;
mod image;
mod input;
mod life;
mod manual;
mod message;
mod output;
mod progress;
mod run;
mod session;
mod signals;
mod terminal;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Mutex;
use std::{env, panic};

use clap::Parser;
use control::Request;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    if let Some(probe) = doctor::Probe::asked_for(env::args_os()) {
        return probe.try_it();
    }
    heap::be_frugal();
    let cli = Cli::parse();
    if cli.quiet {
        message::be_quiet();
    }
    if let Err(failure) = start_log(cli.verbose, &cli.command) {
        message::error(&failure);
        return failure.status.into();
    }
    restore_terminal_on_panic();
    match dispatch(cli.command) {
        Ok(status) => status.into(),
        Err(failure) => {
            message::error(&failure);
            failure.status.into()
        }
    }
}

fn dispatch(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Ps { json } => life::ps(json),
        Command::Exec(args) => run::exec(&args),
        Command::Console { name } => life::console(&name),
        Command::Attach(args) => life::attach(&args),
        Command::Detach(args) => life::detach(&args),
        Command::Balloon(args) => life::ask(&[args.name], &Request::Balloon { bytes: args.size }),
        Command::Stop(args) => life::stop(&args),
        Command::Kill { names } => life::kill(&names),
        Command::Pause { names } => life::ask(&names, &Request::Pause {}),
        Command::Resume { names } => life::ask(&names, &Request::Resume {}),
        Command::Image { command } => image::image(command),
        Command::Disk { command } => disk::disk(command),
        Command::Doctor { json } => doctor::doctor(json),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::manual(directory.as_deref()),
    }
}

/// The log goes to standard error; RINGFENCE_LOG says what of it, in the form of `tracing`.
fn start_log(verbose: u8, command: &Command) -> Result<(), Failure> {
    let level = match verbose {
        0 => "error",
        1 => "info",
        2 => "debug",
        // Blocks would drown the rest.
        _ => "trace,ringfence::blocks=off,ringfence::perf=off",
    };
    let (mut trace, mut map) = (false, None);
    if let Command::Run(args) = command {
        trace = args.trace;
        if args.perf_map {
            let path = format!("/tmp/perf-{}.map", std::process::id());
            let file = File::create(&path)
                .map_err(|source| Failure::host(format!("cannot write {path}: {source}")))?;
            let lines = fmt::layer().without_time().with_level(false).with_target(false).with_ansi(false);
            let only = EnvFilter::new("ringfence::perf=trace");
            map = Some(lines.with_writer(Mutex::new(file)).with_filter(only));
        }
    }
    let said = env::var("RINGFENCE_LOG").ok();
    // What a guest sends to a shared directory is not for its library to tell the user.
    let library = "fuse_backend_rs=off";
    let with_blocks =
        |said: &str| format!("{said},{library}{}", if trace { ",ringfence::blocks=trace" } else { "" });
    let filter = said.and_then(|said| EnvFilter::try_new(with_blocks(&said)).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(with_blocks(level)));
    let colour = io::stderr().is_terminal();
    let log = fmt::layer().with_writer(|| message::LogWriter).with_ansi(colour).compact();
    tracing_subscriber::registry().with(map).with(log.with_filter(filter)).init();
    Ok(())
}

/// A message in raw mode would run down the screen like stairs.
fn restore_terminal_on_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        terminal::restore();
        before(info);
    }));
}
