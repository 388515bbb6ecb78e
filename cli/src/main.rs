//! The `ringfence` command.
//!
//! A file or folder for each noun of it: [`args`] is the command line, [`run`] the longest of the commands,
//! [`image`], [`disk`], [`doctor`] and [`manual`] the others; [`exit`] and [`failure`] are how they end, [`message`]
//! what they say. What a run needs of the host is in [`terminal`], [`signals`], [`input`], [`output`] and [`console`];
//! the conversation with the guest's agent in [`session`].

mod args;
mod console;
mod disk;
mod doctor;
mod exit;
mod failure;
mod image;
mod input;
mod manual;
mod message;
mod output;
mod progress;
mod run;
mod session;
mod signals;
mod terminal;

use std::process::ExitCode;
use std::{env, panic};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    if let Some(probe) = doctor::Probe::asked_for(env::args_os()) {
        return probe.try_it();
    }
    let cli = Cli::parse();
    if cli.quiet {
        message::be_quiet();
    }
    start_log(cli.verbose);
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
        Command::Image { command } => image::image(command),
        Command::Disk { command } => disk::disk(command),
        Command::Doctor { json } => doctor::doctor(json),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::manual(directory.as_deref()),
    }
}

/// The log goes to standard error; RINGFENCE_LOG says what of it, in the form of `tracing`.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("RINGFENCE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| message::LogWriter).compact().init();
}

/// A message in raw mode would run down the screen like stairs.
fn restore_terminal_on_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        terminal::restore();
        before(info);
    }));
}
