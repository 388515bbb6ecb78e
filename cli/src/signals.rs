//! Signals to Ringfence itself, as a channel.
//!
//! The loop of a run decides what they mean. Should it hang, the third signal that asks for an end ends the process
//! at once, with the terminal restored.
//!
//! What was ignored when Ringfence started stays ignored: that is how nohup(1) and background jobs ask for it.

use std::{fs, io, process, thread};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::{exit, terminal};

const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
/// After so many requests to end it is not asked any more.
const PATIENCE: usize = 3;

/// Begins to listen. Gives the numbers of the signals as they come.
pub fn listen() -> io::Result<Receiver<i32>> {
    let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    let wanted = ENDING.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(wanted.chain([SIGWINCH, SIGCONT]))?;
    let (sender, receiver) = bounded(16);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut asked = 0;
        for signal in signals.forever() {
            asked += usize::from(ENDING.contains(&signal));
            if asked >= PATIENCE {
                terminal::restore();
                process::exit(exit::by_signal(signal).into());
            }
            // A full channel holds enough of them.
            let _ = sender.try_send(signal);
        }
    })?;
    Ok(receiver)
}

/// The signals that are ignored, as a mask: bit N-1 is signal N (proc_pid_status(5)).
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        let mask = ignored(status);
        assert_eq!(mask >> (SIGHUP - 1) & 1, 1);
        assert_eq!(mask >> (SIGINT - 1) & 1, 0);
        assert_eq!(ignored(""), 0);
    }
}
