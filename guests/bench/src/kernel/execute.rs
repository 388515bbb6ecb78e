//! Programs that end at once: a static one is loaded, faulted in, and taken down.

use std::io;
use std::process::{Command, Stdio};

use crate::workload::Round;

/// The argument with which we are the program that does nothing.
pub const NOTHING: &str = "nothing";

const PROGRAMS: u64 = 10;

pub fn start() -> io::Result<Round> {
    let myself = std::env::current_exe()?;
    Ok(Box::new(move || {
        for _ in 0..PROGRAMS {
            let status = Command::new(&myself).arg(NOTHING).env_clear().stdout(Stdio::null()).status()?;
            if !status.success() {
                return Err(io::Error::other(format!("doing nothing ended with {status}")));
            }
        }
        Ok(PROGRAMS)
    }))
}
