//! A machine that goes on when the command that started it has ended.
//!
//! ```text
//!   ringfence run --detach ──starts──► the same command line, --behind     on the user's terminal still
//!        │                                  │ pulls, plans, builds, starts
//!        │ ◄──────── its name ──────────────┤ a session of its own; messages go to a file
//!        ▼ prints it, ends                  ▼ runs
//! ```
//!
//! Until it runs it is the user's: it says on standard error what goes wrong, Ctrl-C ends it, and its exit status is that of
//! `ringfence run --detach`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::{env, os::unix::process::ExitStatusExt};

use control::Name;
use nix::unistd::{dup2_stderr, dup2_stdout, setsid};

use crate::console::Log;
use crate::exit::by_signal;
use crate::failure::Failure;
use crate::message;

/// Starts it and says its name.
pub fn start() -> Result<u8, Failure> {
    let cannot = |error: io::Error| Failure::host(format!("cannot start a process for the machine: {error}"));
    let mut behind = Command::new(env::current_exe().map_err(cannot)?)
        .args(env::args_os().skip(1))
        .arg("--behind")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let mut name = String::new();
    if let Some(said) = behind.stdout.take() {
        BufReader::new(said).read_line(&mut name).map_err(cannot)?;
    }
    if name.ends_with('\n') {
        let written = write!(io::stdout(), "{name}").and_then(|()| io::stdout().flush());
        return written
            .map(|()| 0)
            .map_err(|error| Failure::host(format!("cannot write standard output: {error}")));
    }
    // It has said why.
    let status = behind.wait().map_err(cannot)?;
    let signal = status.signal().map(by_signal);
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).or(signal).unwrap_or(1).max(1))
}

/// Leaves the user's terminal: the machine runs, and this is its name.
pub fn leave(name: &Name, image: &str) -> io::Result<()> {
    let log = Log::create_for(&format!("{image}-messages"));
    setsid()?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    writeln!(io::stdout(), "{name}")?;
    io::stdout().flush()?;
    message::go_to(log.ok());
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    Ok(())
}
