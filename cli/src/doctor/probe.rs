//! Trying something in a process of its own: it may change that process for good, hang in the kernel, or crash.
//!
//! The process is Ringfence itself with a hidden command. It prints `ok` and details, or what failed.

use std::env;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::{kvm, namespaces};

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// A virtual machine of one instruction under /dev/kvm.
    Kvm,
    /// A user namespace, and rights in it.
    UserNamespace,
}

/// In the process of its own: tries, prints, and gives the exit status.
pub fn probe(what: Probe) -> u8 {
    let tried = match what {
        Probe::Kvm => kvm::try_it(),
        Probe::UserNamespace => namespaces::try_it(),
    };
    match tried {
        Ok(details) => println!("ok {details}"),
        Err(what) => println!("{what}"),
    }
    0
}

impl Probe {
    /// In the doctor: has it tried. Gives the details, or what failed.
    pub fn run(self) -> Result<String, String> {
        let name = self.to_possible_value().ok_or("no such probe")?.get_name().to_owned();
        let text =
            run(&name, PATIENCE).map_err(|error| format!("the probe cannot be started: {error}"))??;
        match text.strip_prefix("ok") {
            Some(details) => Ok(details.trim().to_owned()),
            None => Err(text),
        }
    }
}

fn run(name: &str, patience: Duration) -> io::Result<Result<String, String>> {
    let mut child = Command::new(env::current_exe()?)
        .args(["__probe", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let until = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= until {
            child.kill()?;
            // One that hangs in the kernel does not die; it is left to itself.
            return Ok(Err(format!("no answer within {} seconds", patience.as_secs())));
        }
        thread::sleep(Duration::from_millis(5));
    };
    // The answers are short: they fit into the pipe.
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.take(4096).read_to_string(&mut text)?;
    }
    let text = text.trim().to_owned();
    Ok(if status.success() && !text.is_empty() { Ok(text) } else { Err(format!("the probe died: {status}")) })
}
