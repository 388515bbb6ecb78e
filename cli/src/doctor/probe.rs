//! Trying something in a process of its own: it may change that process for good, hang in the kernel, or crash.
//!
//! The process is Ringfence itself, called in a way that no user would. It prints `ok` and details, or what failed.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{kvm, namespaces};

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the only argument begins with. Not part of the command line that users see.
const CALL: &str = "--probe=";

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A virtual machine of one instruction under /dev/kvm.
    Kvm,
    /// A user namespace, and rights in it.
    UserNamespace,
}

impl Probe {
    const ALL: [Self; 2] = [Self::Kvm, Self::UserNamespace];

    fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::UserNamespace => "user-namespace",
        }
    }

    /// The probe that this process was started for, if it was.
    pub fn asked_for(mut args: impl Iterator<Item = OsString>) -> Option<Self> {
        let argument = args.nth(1)?;
        let name = argument.to_str()?.strip_prefix(CALL)?;
        Self::ALL.into_iter().find(|probe| probe.name() == name)
    }

    /// In the process of its own: tries, and prints what came of it.
    pub fn try_it(self) -> ExitCode {
        let tried = match self {
            Self::Kvm => kvm::try_it(),
            Self::UserNamespace => namespaces::try_it(),
        };
        match tried {
            Ok(details) => println!("ok {details}"),
            Err(what) => println!("{what}"),
        }
        ExitCode::SUCCESS
    }

    /// In the doctor: has it tried. Gives the details, or what failed.
    pub fn run(self) -> Result<String, String> {
        let call = format!("{CALL}{}", self.name());
        let text =
            run(&call, PATIENCE).map_err(|error| format!("the probe cannot be started: {error}"))??;
        match text.strip_prefix("ok") {
            Some(details) => Ok(details.trim().to_owned()),
            None => Err(text),
        }
    }
}

fn run(call: &str, patience: Duration) -> io::Result<Result<String, String>> {
    let mut child = Command::new(env::current_exe()?)
        .arg(call)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_call_is_a_call() {
        let asked = |args: &[&str]| Probe::asked_for(args.iter().map(|arg| arg.into()));
        for probe in Probe::ALL {
            assert_eq!(asked(&["ringfence", &format!("--probe={}", probe.name())]), Some(probe));
        }
        for args in
            [&["ringfence"][..], &["ringfence", "run", "--probe=kvm"], &["ringfence", "--probe=x"], &[]]
        {
            assert_eq!(asked(args), None);
        }
    }
}
