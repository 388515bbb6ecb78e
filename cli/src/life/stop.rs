//! `ringfence stop` and `ringfence kill`.

use std::time::{Duration, Instant};

use control::{Client, ClientError, Name, Registry, Request};
use crossbeam_channel::bounded;
use humantime::format_duration;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send_signal};
use nix::unistd::Pid;

use crate::args::StopArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::message;

/// How long a machine may take to end by itself when it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often a machine is asked whether it is still there.
const LOOK: Duration = Duration::from_millis(20);

/// Asks guests to go off, all at once, and waits until they have.
pub fn stop(args: &StopArgs) -> Result<u8, Failure> {
    let registry = Registry::open()?;
    let until = Instant::now() + args.timeout;
    let mut waiting = Vec::new();
    for name in &args.names {
        let mut client = Client::connect(&registry, name)?;
        client.ask(&Request::Stop { button: args.button })?;
        waiting.push((name, client));
    }
    for (name, client) in waiting {
        if !has_ended(client, until) {
            let text = format!(
                "`{name}` is still on after {}: its guest does not obey",
                format_duration(args.timeout)
            );
            let hint = format!(
                "give it more time, look at `ringfence console {name}`, or pull its plug: ringfence kill {name}"
            );
            return Err(Failure::new(Exit::Failure, text).hint(hint));
        }
        message::say(format_args!("{name} is off"));
    }
    Ok(0)
}

/// Ends machines at once.
pub fn kill(names: &[Name]) -> Result<u8, Failure> {
    let registry = Registry::open()?;
    for name in names {
        if let Err(process) = ask_to_end(&registry, name)? {
            message::note(format_args!("`{name}` does not answer; its process {process} is killed"));
            // A process of another PID namespace has no number here, and 0 would be ourselves.
            if process <= 1 {
                return Err(Failure::host(format!(
                    "`{name}` is not of this PID namespace: kill it in its own"
                )));
            }
            match send_signal(Pid::from_raw(process), Signal::SIGKILL) {
                // It has ended meanwhile.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(Failure::host(format!("cannot kill process {process}: {error}"))),
            }
        }
        let until = Instant::now() + GRACE;
        while registry.is_alive(name) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        // Sweeps what it had no time to remove.
        registry.names()?;
    }
    Ok(0)
}

/// Asks a machine to end at once. Gives its process where that has not happened.
fn ask_to_end(registry: &Registry, name: &Name) -> Result<Result<(), i32>, Failure> {
    let mut client = match Client::connect(registry, name) {
        Ok(client) => client,
        Err(ClientError::Silent { process: Some(process), .. }) => return Ok(Err(process)),
        Err(error) => return Err(error.into()),
    };
    let process = client.process();
    let asked = client.ask(&Request::Kill {});
    Ok(if asked.is_ok() && has_ended(client, Instant::now() + GRACE) { Ok(()) } else { Err(process) })
}

/// Waits for the end of the machine, which is the end of its connections.
fn has_ended(client: Client, until: Instant) -> bool {
    let (sender, ended) = bounded::<()>(0);
    std::thread::spawn(move || {
        client.await_end();
        drop(sender);
    });
    ended.recv_deadline(until) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
}
