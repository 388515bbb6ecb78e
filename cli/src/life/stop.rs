//! `ringfence stop` and `ringfence kill`.

use std::time::{Duration, Instant};

use control::{Client, Name, Registry, Request};
use crossbeam_channel::bounded;
use humantime::format_duration;
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
        let mut client = Client::connect(&registry, name)?;
        let process = client.process();
        let asked = client.ask(&Request::Kill {});
        if asked.is_err() || !has_ended(client, Instant::now() + GRACE) {
            message::note(format_args!("`{name}` does not answer; its process {process} is killed"));
            // A process of another PID namespace has no number here, and 0 would be ourselves.
            if process <= 1 {
                return Err(Failure::host(format!(
                    "`{name}` is not of this PID namespace: kill it in its own"
                )));
            }
            let killed = send_signal(Pid::from_raw(process), Signal::SIGKILL);
            killed.map_err(|error| Failure::host(format!("cannot kill process {process}: {error}")))?;
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

/// Waits for the end of the machine, which is the end of its connections.
fn has_ended(client: Client, until: Instant) -> bool {
    let (sender, ended) = bounded::<()>(0);
    std::thread::spawn(move || {
        client.await_end();
        drop(sender);
    });
    ended.recv_deadline(until) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
}
