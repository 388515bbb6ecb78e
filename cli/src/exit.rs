//! Exit statuses.
//!
//! `ringfence run -- CMD` exits with CMD's own status, so ours have to lie where statuses of commands seldom do.
//! Programs use small numbers, shells 126 and 127, and 128 and up say a signal's number (the highest is 64, so
//! 192). From 200 on it is quiet; 255 is ssh's.

use std::process::ExitCode;

/// The part of the help that explains them.
pub const TABLE: &str = "\
Exit status:
  that of the command or shell in the guest (128+N if signal N killed it; 127: no such command;
  126: it cannot be run), or else
    1  a failure outside of a run (image, man)
    2  the command line, or a file it names, is wrong; nothing was started
  200  the guest's kernel panicked
  201  triple fault: the guest's CPU shut down
  202  --timeout ran out
  203  the guest never started: its user space was not reached, in --boot-timeout or at all
  204  the guest went off, or started anew, before the command ended
  205  the host failed: no memory, no image, no disk space
  206  the self-test kernel found a fault in the virtual machine
  129, 130, 143  a hang-up, an interrupt or a termination signal stopped Ringfence itself
  137  `ringfence kill` ended the machine
A guest that writes N to the debug-exit port (0xf4) exits with 2N+1, as in QEMU.";

/// Why Ringfence ends, where it is not for the guest's own status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Success = 0,
    /// Something outside of a run failed.
    Failure = 1,
    /// The user asked for something that cannot be.
    Usage = 2,
    /// The guest's kernel panicked.
    Panic = 200,
    /// The guest's CPU shut down.
    TripleFault = 201,
    /// The time-out ran out.
    TimeOut = 202,
    /// User space was not reached.
    NeverStarted = 203,
    /// The guest went off before the command ended.
    WentOff = 204,
    /// The host failed.
    Host = 205,
    /// The self-test failed.
    SelfTest = 206,
}

/// The status a process exits with when the signal of this number ends it, as shells have it.
pub fn by_signal(signal: i32) -> u8 {
    u8::try_from(signal).unwrap_or(0).saturating_add(128)
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        exit as Self
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        u8::from(exit).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_them_all() {
        use Exit::*;
        let exits = [Failure, Usage, Panic, TripleFault, TimeOut, NeverStarted, WentOff, Host, SelfTest];
        for exit in exits {
            let number = format!("\n{:>5}  ", u8::from(exit));
            assert!(TABLE.contains(&number), "{exit:?}");
        }
    }

    #[test]
    fn signals_are_as_shells_have_them() {
        assert_eq!(by_signal(2), 130);
        assert_eq!(by_signal(15), 143);
        assert_eq!(by_signal(1000), 128);
    }
}
