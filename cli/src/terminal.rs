//! The user's terminal: raw mode and the way back, the window's size, the key that leaves.
//!
//! In raw mode every key goes to the guest as it is, Ctrl-C too; only [`LEAVE`] is ours. However Ringfence ends,
//! the terminal must be as it was: [`Raw`] restores it when it is dropped (returns, errors, unwinding), the panic
//! hook before the message is printed, and [`crate::signals`] before it gives up waiting. So what was there is
//! kept where each of them finds it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use agent::WindowSize;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Ctrl-], which leaves, as in telnet.
pub const LEAVE: u8 = 0x1d;
/// Ctrl-C.
pub const INTERRUPT: u8 = 0x03;

/// What the terminal was before raw mode.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// Whether standard input's terminal is in raw mode now.
pub fn is_raw() -> bool {
    IS_RAW.load(Ordering::SeqCst)
}

/// Raw mode of standard input's terminal, for as long as this lives.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Enters raw mode.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        set_raw(before.clone())?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        IS_RAW.store(true, Ordering::SeqCst);
        Ok(Self(()))
    }

    /// Enters it again, after something else had the terminal.
    pub fn renew(&self) {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            // If the terminal is gone, the next read will tell.
            let _ = set_raw(before);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn set_raw(mut settings: Termios) -> nix::Result<()> {
    cfmakeraw(&mut settings);
    tcsetattr(io::stdin(), SetArg::TCSANOW, &settings)
}

/// Puts the terminal back as it was; any number of times, from any thread.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
    IS_RAW.store(false, Ordering::SeqCst);
}

/// The window's size; that of a VT100 where the terminal does not tell.
pub fn window_size() -> WindowSize {
    match terminal_size::terminal_size_of(io::stdin()) {
        Some((width, height)) if width.0 > 0 && height.0 > 0 => WindowSize { rows: height.0, cols: width.0 },
        _ => WindowSize { rows: 24, cols: 80 },
    }
}

/// What was typed before the key that leaves; whether that was typed.
pub fn before_leaving(typed: &[u8]) -> (&[u8], bool) {
    match typed.iter().position(|&key| key == LEAVE) {
        Some(at) => (&typed[..at], true),
        None => (typed, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_leaves() {
        assert_eq!(before_leaving(b"ls\r"), (&b"ls\r"[..], false));
        assert_eq!(before_leaving(b"ls\x1d\x1dx"), (&b"ls"[..], true));
        assert_eq!(before_leaving(b"\x1d"), (&b""[..], true));
    }
}
