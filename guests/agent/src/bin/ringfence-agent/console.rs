//! What the agent has to say to a person: on the guest's console, never on the channel.

use std::fs::OpenOptions;
use std::io::Write;

use nix::sys::termios::tcdrain;

use crate::power::{self, Ending};

/// Prints a line on the console (as process 1) or on standard error. There is nobody to tell if that fails.
pub fn say(message: &str) {
    let line = format!("ringfence-agent: {message}\n");
    if !power::is_init() {
        eprint!("{line}");
    } else if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") {
        let _ = console.write_all(line.as_bytes());
        let _ = tcdrain(&console);
    }
}

/// Says what went wrong and turns the machine off; an init that just exits would have the kernel panic.
pub fn fatal(message: &str) -> ! {
    say(message);
    power::end(Ending::Failure)
}
