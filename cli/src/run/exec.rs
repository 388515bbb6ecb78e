//! A command in a guest without the agent: it is a word on the kernel's command line, and what it writes is on the
//! console, between the line that says that user space runs and the one that tells the status.
//!
//! ```text
//! …kernel chatter… \n ringfence: userspace reached \r\n  OUTPUT  \n ringfence: status 7 \n
//! ```
//!
//! The script stops the kernel's chatter and the terminal's translation of line ends first, so the output arrives as
//! it is. Standard output and standard error are one, and there is no input.

use std::ffi::OsString;

use images::exec;

use super::boot::Boot;
use super::ending::Ending;
use super::talk::{Actions, Talk};
use crate::console::{Lines, Sign};
use crate::failure::Failure;
use crate::output::Stream;

/// What begins the end, `\n` included.
const END: &[u8] = b"\nringfence: status ";
/// The longest such line: three digits and the line's end.
const LONGEST_END: usize = END.len() + 5;

/// The kernel's command line that makes the guest run `argv`.
///
/// # Errors
/// Where that does not fit, or an argument is not UTF-8.
pub fn command_line(command_line: &str, argv: &[OsString]) -> Result<String, Failure> {
    let argv: Option<Vec<&str>> = argv.iter().map(|word| word.to_str()).collect();
    let argv = argv.ok_or_else(|| Failure::usage("a command for this guest must be UTF-8"))?;
    exec::command_line(command_line, &script(argv))
        .map_err(|error| Failure::usage(error).hint("`debian` takes longer commands, and standard input"))
}

fn script<'a>(argv: impl IntoIterator<Item = &'a str>) -> String {
    format!("dmesg -n 1; stty -opost; {} </dev/null", exec::script(argv))
}

/// The command on the console.
pub struct ExecTalk {
    boot: Option<Boot>,
    lines: Lines,
    /// Output that may be the beginning of the end.
    held: Vec<u8>,
}

impl ExecTalk {
    /// `boot` shows the boot.
    pub fn new(boot: Boot) -> Self {
        Self { boot: Some(boot), lines: Lines::default(), held: Vec::new() }
    }

    /// Looks for the line that ends the boot. Gives what stands behind it.
    fn await_start<'a>(&mut self, bytes: &'a [u8], actions: &mut Actions) -> &'a [u8] {
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            let start = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |before| before + 1);
            let mut reached = false;
            self.lines.push(&bytes[start..=at], |line| reached |= Sign::of(line) == Some(Sign::Reached));
            if reached && let Some(boot) = self.boot.take() {
                boot.end(actions);
                return &bytes[at + 1..];
            }
        }
        let rest = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |before| before + 1);
        self.lines.push(&bytes[rest..], |_| {});
        if let Some(boot) = &mut self.boot {
            boot.show(bytes, actions);
        }
        &[]
    }

    /// Passes on what is certain not to be the end.
    fn pass(&mut self, actions: &mut Actions) {
        let mut from = 0;
        while let Some(at) = self.held[from..].iter().position(|&byte| byte == b'\n').map(|at| from + at) {
            let rest = &self.held[at..];
            let end = rest.iter().skip(1).position(|&byte| byte == b'\n').map(|end| end + 1);
            let line = end.map(|end| String::from_utf8_lossy(&rest[1..end]));
            if let Some(Sign::Status(status)) = line.and_then(|line| Sign::of(&line)) {
                actions.write(Stream::Out, &self.held[..at]);
                actions.end(Ending::Guest(status));
                self.held.clear();
                return;
            }
            let may_become = rest.len() < LONGEST_END && (rest.starts_with(END) || END.starts_with(rest));
            if end.is_none() && may_become {
                actions.write(Stream::Out, self.held.drain(..at).collect::<Vec<_>>());
                return;
            }
            from = at + 1;
        }
        actions.write(Stream::Out, std::mem::take(&mut self.held));
    }
}

impl Talk for ExecTalk {
    fn console(&mut self, bytes: &[u8], actions: &mut Actions) {
        let output = match self.boot {
            Some(_) => self.await_start(bytes, actions),
            None => bytes,
        };
        if actions.ending.is_none() && !output.is_empty() {
            self.held.extend_from_slice(output);
            self.pass(actions);
        }
    }

    fn console_is_output(&self) -> bool {
        true
    }

    fn input(&mut self, _: &[u8], _: &mut Actions) {}

    fn end_input(&mut self, _: &mut Actions) {}

    fn wants_input(&self) -> bool {
        false
    }

    fn has_started(&self) -> bool {
        self.boot.is_none()
    }

    fn leave(&mut self, _: &mut Actions) -> bool {
        self.has_started()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(pieces: &[&[u8]]) -> (Vec<u8>, Option<Ending>) {
        let (mut talk, mut actions) = (ExecTalk::new(Boot::Silent), Actions::default());
        for piece in pieces {
            talk.console(piece, &mut actions);
        }
        (actions.output.into_iter().flat_map(|chunk| chunk.bytes).collect(), actions.ending)
    }

    const BOOT: &[u8] = b"Linux version 6\r\n[    1.0] Run /init\r\nringfence: userspace reached\r\n";

    #[test]
    fn the_output_is_what_stands_between() {
        let (output, ending) = run(&[BOOT, b"a\nb", b"\nringfence: status 7\nreboot: Power down\r\n"]);
        assert_eq!((&output[..], ending), (&b"a\nb"[..], Some(Ending::Guest(7))));
        let (output, ending) = run(&[BOOT, b"\nringfence: status 0\n"]);
        assert_eq!((&output[..], ending), (&b""[..], Some(Ending::Guest(0))));
    }

    #[test]
    fn without_an_end_all_is_output() {
        let text = b"\n\nringfence: status x\nringfence: status 7 of 9\n.";
        let (output, ending) = run(&[BOOT, text]);
        assert_eq!((&output[..], ending), (&text[..], None));
        assert_eq!(run(&[b"Linux version 6\n", b"ringfence: status 7\n"]), (vec![], None));
    }

    proptest! {
        #[test]
        fn however_it_is_cut(output in "([a-c\r]|\n|\nring|\nringfence: status |[0-9]){0,12}", cuts in prop::collection::vec(1usize..20, 200)) {
            let whole = [BOOT, output.as_bytes(), b"\nringfence: status 42\n"].concat();
            // An output that looks like the end is the end.
            prop_assume!(!output.split('\n').any(|line| matches!(Sign::of(line), Some(Sign::Status(_)))));
            let (mut pieces, mut rest) = (vec![], &whole[..]);
            for cut in cuts {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = later;
            }
            pieces.push(rest);
            let (got, ending) = run(&pieces);
            prop_assert_eq!(got, output.as_bytes());
            prop_assert_eq!(ending, Some(Ending::Guest(42)));
        }
    }
}
