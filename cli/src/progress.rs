//! How long work shows itself: bars on a terminal, lines elsewhere, nothing with --quiet.

use std::io::{self, IsTerminal};
use std::time::Duration;

use images::{Amount, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::show_size;
use crate::message;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);

/// The progress of pulling images, on standard error.
pub fn of_a_pull() -> Box<dyn Progress> {
    match (message::is_quiet(), io::stderr().is_terminal()) {
        (true, _) => Box::new(images::Silent),
        (false, true) => Box::new(Bars(ProgressBar::hidden())),
        (false, false) => Box::new(Lines),
    }
}

/// The progress of copying a disk, in the same way.
pub fn of_a_copy() -> Box<dyn Progress> {
    of_a_pull()
}

/// A bar for each task; a finished one stays.
struct Bars(ProgressBar);

impl Progress for Bars {
    fn start(&mut self, task: &str, amount: Amount) {
        self.0 = match amount {
            Amount::Bytes(bytes) => ProgressBar::new(bytes).with_style(style(
                "  {msg:42!} {bar:30.cyan} {binary_bytes:>10} of {binary_total_bytes} {binary_bytes_per_sec:>12} {eta:>4}",
            )),
            Amount::Percent => ProgressBar::new(100).with_style(style("  {msg:42!} {bar:30.cyan} {percent:>3} %")),
            Amount::Unknown => ProgressBar::new_spinner().with_style(style("{spinner:.cyan} {msg}")),
        };
        self.0.set_message(task.to_owned());
        self.0.enable_steady_tick(TURN);
    }

    fn advance(&mut self, done: u64) {
        self.0.set_position(done);
    }

    fn finish(&mut self) {
        self.0.finish();
    }
}

impl Drop for Bars {
    /// Work that failed leaves its bar as it stands, below it the error.
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A line for each task.
struct Lines;

impl Progress for Lines {
    fn start(&mut self, task: &str, amount: Amount) {
        match amount {
            Amount::Bytes(bytes) => message::say(format_args!("{task} ({})", show_size(bytes))),
            Amount::Percent | Amount::Unknown => message::say(task),
        }
    }

    fn advance(&mut self, _: u64) {}

    fn finish(&mut self) {}
}

/// A line that says that a guest boots, and what its kernel said last. It is gone when the boot is.
#[derive(Debug)]
pub struct Booting(ProgressBar);

impl Booting {
    /// Shows the line if there is a terminal to show it on.
    pub fn show(name: &str) -> Self {
        if message::is_quiet() || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner()
            .with_style(style("{spinner:.cyan} {prefix} {elapsed:>3}  {wide_msg:.dim}"));
        bar.set_prefix(format!("booting {name}"));
        bar.enable_steady_tick(TURN);
        Self(bar)
    }

    /// The kernel said this.
    pub fn line(&self, text: &str) {
        if !self.0.is_hidden() {
            self.0.set_message(text.chars().filter(|c| !c.is_control()).collect::<String>());
        }
    }
}

impl Drop for Booting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are the ones above; were one of them wrong, the default still shows something.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_a_task() {
        let mut bars = Bars(ProgressBar::hidden());
        for (amount, length) in
            [(Amount::Bytes(300), Some(300)), (Amount::Percent, Some(100)), (Amount::Unknown, None)]
        {
            bars.start("task", amount);
            bars.advance(50);
            assert_eq!((bars.0.position(), bars.0.length()), (50, length));
            assert_eq!(bars.0.message(), "task");
            bars.finish();
            assert!(bars.0.is_finished());
        }
    }
}
