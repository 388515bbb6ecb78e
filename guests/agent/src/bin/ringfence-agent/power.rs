//! How it ends.

use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sync};

use crate::{console, syscall};

/// How long processes have between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// What the agent ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The machine is turned off.
    PowerOff,
    /// The machine starts anew.
    Reboot,
    /// The machine is turned off, as the agent cannot go on.
    Failure,
}

/// Whether this process is the guest's init and so owns the machine.
pub fn is_init() -> bool {
    process::id() == 1
}

/// Ends the machine, or, where the agent is not init, the agent.
pub fn end(ending: Ending) -> ! {
    if !is_init() {
        process::exit(i32::from(ending == Ending::Failure));
    }
    end_processes();
    sync();
    let mode = match ending {
        Ending::PowerOff | Ending::Failure => RebootMode::RB_POWER_OFF,
        Ending::Reboot => RebootMode::RB_AUTOBOOT,
    };
    let Err(error) = reboot(mode);
    console::say(&format!("cannot turn the machine off: {error}"));
    loop {
        sleep(Duration::MAX);
    }
}

/// Asks every process to end, then makes it.
fn end_processes() {
    let everybody = Pid::from_raw(-1);
    // Fails only where there is nobody.
    let _ = kill(everybody, Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    // All processes are our children or their descendants, whom we inherit.
    while let Ok(ended) = syscall::reap(false)
        && Instant::now() < deadline
    {
        if ended.is_none() {
            sleep(Duration::from_millis(5));
        }
    }
    let _ = kill(everybody, Signal::SIGKILL);
}
