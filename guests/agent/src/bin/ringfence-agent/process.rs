//! Starting a command, on pipes or on a terminal.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{self, Stdio};
use std::{env, io};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use ringfence_agent::{Command, WindowSize};

use crate::syscall;

/// A running command and our ends of its standard streams, none of which block.
pub struct Process {
    /// Its process, also its session and process group.
    pub pid: u32,
    /// What it reads.
    pub stdin: File,
    /// What it writes.
    pub stdout: File,
    /// What it writes to its standard error, where that is apart.
    pub stderr: Option<File>,
    /// Its terminal's master side, where it has one.
    pub terminal: Option<File>,
}

/// A command could not be started.
pub struct Failure {
    /// What a shell would exit with.
    pub code: u8,
    /// What happened.
    pub message: String,
}

impl Failure {
    /// A failure with so much of the message as fits into a frame for certain: it has names in it that the
    /// host gave.
    fn new(code: u8, message: &str) -> Self {
        Self { code, message: message.chars().take(1000).collect() }
    }
}

impl Process {
    /// Starts a command.
    ///
    /// # Errors
    /// With 127 where there is no such program, 126 where it, or its directory, or a process or terminal for
    /// it, cannot be had.
    pub fn start(command: &Command) -> Result<Self, Failure> {
        let program = command.argv.first().map_or(OsStr::new(""), |program| os(program));
        let mut builder = process::Command::new(program);
        builder.args(command.argv.iter().skip(1).map(os));
        builder.envs(command.env.iter().map(|variable| (os(&variable.name), os(&variable.value))));
        let home = env::var_os("HOME").unwrap_or_else(|| "/".into());
        let directory = if command.cwd.is_empty() { Path::new(&home) } else { Path::new(os(&command.cwd)) };
        if !directory.is_dir() {
            return Err(Failure::new(126, &format!("no directory {} in the guest", directory.display())));
        }
        builder.current_dir(directory);
        let started = match command.tty {
            None => on_pipes(&mut builder),
            Some(size) => on_terminal(&mut builder, size),
        };
        started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::new(127, &format!("{}: not found in the guest", program.display()))
            }
            _ => Failure::new(126, &format!("{}: cannot run in the guest: {error}", program.display())),
        })
    }
}

fn on_pipes(builder: &mut process::Command) -> io::Result<Process> {
    syscall::lead_session(builder, false);
    builder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = builder.spawn()?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        unreachable!("all three were asked for as pipes");
    };
    Ok(Process {
        pid: child.id(),
        stdin: unblock(stdin)?,
        stdout: unblock(stdout)?,
        stderr: Some(unblock(stderr)?),
        terminal: None,
    })
}

fn on_terminal(builder: &mut process::Command, size: WindowSize) -> io::Result<Process> {
    let pair = openpty(&syscall::winsize(size), None)?;
    let master = unblock(pair.master)?;
    // openpty() leaves out close-on-exec, and a command that holds its own master would never be hung up.
    fcntl(&master, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    syscall::lead_session(builder, true);
    let slave = pair.slave;
    builder.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let child = builder.spawn()?;
    Ok(Process {
        pid: child.id(),
        stdin: master.try_clone()?,
        stdout: master.try_clone()?,
        stderr: None,
        terminal: Some(master),
    })
}

/// The file of a descriptor that from now on does not block.
fn unblock(descriptor: impl Into<OwnedFd>) -> io::Result<File> {
    let descriptor = descriptor.into();
    let flags = OFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFL)?);
    fcntl(&descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(descriptor.into())
}

fn os(string: &CString) -> &OsStr {
    OsStr::from_bytes(string.as_bytes())
}
