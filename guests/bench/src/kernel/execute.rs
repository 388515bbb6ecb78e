//! Programs that end at once: a process is copied, and a static program takes its place, is faulted in, and taken down.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use nix::unistd::{dup2_stdout, execv};

use super::Child;
use crate::workload::Round;

/// The argument with which we are the program that does nothing.
pub const NOTHING: &str = "nothing";

const PROGRAMS: u64 = 10;

pub fn start() -> io::Result<Round> {
    let myself = CString::new(std::env::current_exe()?.as_os_str().as_bytes())?;
    let arguments = [myself.clone(), CString::new(NOTHING)?];
    let silence = File::options().write(true).open("/dev/null")?;
    Ok(Box::new(move || {
        for _ in 0..PROGRAMS {
            // The code is of a program that cannot be run, as in a shell.
            let execute = || {
                let _ = dup2_stdout(&silence).and_then(|()| execv(&myself, &arguments).map(|_| ()));
                126
            };
            Child::start(execute)?.wait()?;
        }
        Ok(PROGRAMS)
    }))
}
