//! The boot, for a person who waits for it.

use super::talk::Actions;
use crate::console::Lines;
use crate::output::Stream;
use crate::progress::Booting;

const DIM: &str = "\x1b[2m";
/// Plain again, also where the kernel's own colours were left on.
const PLAIN: &str = "\x1b[0m";

/// How to show it.
pub enum Boot {
    /// The console itself, on standard output; dim if it takes that.
    Console {
        /// Does the output take colours?
        dim: bool,
        /// Is anything shown yet?
        shown: bool,
    },
    /// One line that tells what the kernel says, on standard error.
    Line {
        /// The line.
        line: Booting,
        /// What the kernel says.
        lines: Lines,
    },
    /// Not at all.
    Silent,
}

impl Boot {
    /// The console wrote.
    pub fn show(&mut self, bytes: &[u8], actions: &mut Actions) {
        match self {
            Self::Console { dim, shown } => {
                *shown = true;
                match dim {
                    true => actions.write(Stream::Out, [DIM.as_bytes(), bytes, PLAIN.as_bytes()].concat()),
                    false => actions.write(Stream::Out, bytes),
                }
            }
            Self::Line { line, lines } => lines.push(bytes, |text| line.line(text)),
            Self::Silent => {}
        }
    }

    /// The boot is over.
    pub fn end(self, actions: &mut Actions) {
        if let Self::Console { shown: true, .. } = self {
            actions.write(Stream::Out, "\r\n");
        }
    }
}
