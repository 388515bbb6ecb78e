//! The way out where there is no host to talk to: a shell on the console.

use std::fs::OpenOptions;
use std::io;
use std::process::{Command, Stdio};

use crate::{console, syscall};

/// Runs a login shell on the console until it ends.
pub fn run() {
    match spawn() {
        Ok(pid) => {
            // Init reaps whatever ends; no child at all means that the shell has ended, too.
            while syscall::reap(true).is_ok_and(|ended| ended.is_none_or(|(ended, _)| ended != pid)) {}
        }
        Err(error) => console::say(&format!("cannot start a shell on /dev/console: {error}")),
    }
}

fn spawn() -> io::Result<u32> {
    let console = OpenOptions::new().read(true).write(true).open("/dev/console")?;
    let mut command = Command::new("/bin/sh");
    command.arg("-l").stdin(console.try_clone()?).stdout(console.try_clone()?).stderr(Stdio::from(console));
    syscall::lead_session(&mut command, true);
    Ok(command.spawn()?.id())
}
