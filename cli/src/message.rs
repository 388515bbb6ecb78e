//! Lines for the user on standard error: errors, hints, notes. For a machine in the background they go to a file.
//!
//! Colour only where the terminal takes it and NO_COLOR does not forbid it (that is `anstream`'s). While the
//! terminal is in raw mode a line feed does not return the carriage, so lines end in both.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};

use crate::console::Log;
use crate::failure::Failure;
use crate::terminal;

static QUIET: AtomicBool = AtomicBool::new(false);
/// Where everything goes that is for nobody's terminal.
static FILE: Mutex<Option<Log>> = Mutex::new(None);

/// From now on nothing but errors is said.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// From now on everything is said into a file, if there is one.
pub fn go_to(log: Option<Log>) {
    *file() = log;
}

fn file() -> MutexGuard<'static, Option<Log>> {
    FILE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether nothing but errors is said.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Says what went wrong and what to do.
pub fn error(failure: &Failure) {
    line("error", AnsiColor::Red, &failure.message);
    if let Some(hint) = &failure.hint {
        line("hint", AnsiColor::Cyan, hint);
    }
}

/// Says something that the user should know.
pub fn note(text: impl Display) {
    if !is_quiet() {
        line("note", AnsiColor::Yellow, text);
    }
}

/// Says what happens.
pub fn say(text: impl Display) {
    if !is_quiet() {
        line("ringfence", AnsiColor::Green, text);
    }
}

fn line(label: &str, colour: AnsiColor, text: impl Display) {
    if let Some(log) = &mut *file() {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        // There is nowhere else to say it.
        let _ = writeln!(log, "{now} {label}: {text}");
        return;
    }
    let style = Style::new().bold().fg_color(Some(colour.into()));
    let end = if terminal::is_raw() { "\r\n" } else { "\n" };
    // A guest's or a package's words may be in there: no control characters of theirs reach the terminal.
    let text: String =
        text.to_string().chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    let text = text.replace('\n', end);
    // There is nobody to tell when standard error is gone.
    let _ = write!(anstream::stderr().lock(), "{style}{label}:{style:#} {text}{end}");
}

/// Where the log goes: standard error, with the line ends that the terminal needs.
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(log) = &mut *file() {
            return log.write(bytes);
        }
        let mut out = io::stderr().lock();
        if terminal::is_raw() {
            let text = String::from_utf8_lossy(bytes).replace('\n', "\r\n");
            out.write_all(text.as_bytes())?;
        } else {
            out.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
