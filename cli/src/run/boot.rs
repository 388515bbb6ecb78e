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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mut boot: Boot, pieces: &[&[u8]]) -> Vec<u8> {
        let mut actions = Actions::default();
        pieces.iter().for_each(|piece| boot.show(piece, &mut actions));
        boot.end(&mut actions);
        actions.output.into_iter().flat_map(|chunk| chunk.bytes).collect()
    }

    #[test]
    fn the_console_dim_and_plain_again() {
        let dim = Boot::Console { dim: true, shown: false };
        assert_eq!(shown(dim, &[b"Linux\r\n", b"x"]), b"\x1b[2mLinux\r\n\x1b[0m\x1b[2mx\x1b[0m\r\n");
        let plain = Boot::Console { dim: false, shown: false };
        assert_eq!(shown(plain, &[b"Linux\r\n"]), b"Linux\r\n\r\n");
    }

    #[test]
    fn what_shows_nothing_leaves_nothing() {
        assert_eq!(shown(Boot::Console { dim: true, shown: false }, &[]), b"");
        assert_eq!(shown(Boot::Silent, &[b"Linux\r\n"]), b"");
    }
}
