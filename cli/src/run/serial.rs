//! A guest whose first serial port is the terminal: our kernel of choice, a microkernel, a shell on the console.

use agent::SessionId;

use super::ending::Ending;
use super::talk::{Actions, Talk};
use crate::console::{Lines, Sign};
use crate::output::Stream;

/// End of transmission: on a terminal of the guest's, the end of the input.
const EOT: u8 = 0x04;

/// The port as a terminal.
#[derive(Debug, Default)]
pub struct SerialTalk {
    /// Does a shell of ours run on it, one that says when it begins and ends?
    shell: bool,
    reached: bool,
    lines: Lines,
    /// Input from before the shell was there.
    early: Vec<u8>,
}

impl SerialTalk {
    /// For any guest.
    pub fn plain() -> Self {
        Self::default()
    }

    /// For an image with a shell on the console.
    pub fn shell() -> Self {
        Self { shell: true, ..Self::default() }
    }
}

impl Talk for SerialTalk {
    fn console(&mut self, bytes: &[u8], actions: &mut Actions) {
        actions.write(Stream::Out, bytes);
        if !self.shell {
            return;
        }
        let reached = &mut self.reached;
        self.lines.push(bytes, |line| match Sign::of(line) {
            Some(Sign::Reached) => *reached = true,
            Some(Sign::Status(status)) if *reached => actions.end(Ending::Guest(status)),
            _ => {}
        });
        if self.reached {
            actions.com1.append(&mut self.early);
        }
    }

    fn console_is_output(&self) -> bool {
        true
    }

    fn input(&mut self, bytes: &[u8], actions: &mut Actions) {
        match self.has_started() {
            true => actions.com1.extend_from_slice(bytes),
            false => self.early.extend_from_slice(bytes),
        }
    }

    fn end_input(&mut self, actions: &mut Actions) {
        if self.shell {
            self.input(&[EOT], actions);
        }
    }

    fn wants_input(&self) -> bool {
        self.early.is_empty()
    }

    fn has_started(&self) -> bool {
        !self.shell || self.reached
    }

    fn restart(&mut self, _: SessionId) {
        (self.reached, self.lines) = (false, Lines::default());
    }

    fn leave(&mut self, _: &mut Actions) -> bool {
        // The shell's guest goes off by itself when its shell ends.
        self.shell && self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_port_passes_everything_on() {
        let (mut talk, mut actions) = (SerialTalk::plain(), Actions::default());
        talk.input(b"in", &mut actions);
        talk.end_input(&mut actions);
        talk.console(b"ringfence: userspace reached\nringfence: status 3\n", &mut actions);
        assert_eq!((&actions.com1[..], actions.ending), (&b"in"[..], None));
        assert_eq!(actions.output.len(), 1);
    }

    #[test]
    fn a_shell_gets_its_input_when_it_is_there_and_tells_its_status() {
        let (mut talk, mut actions) = (SerialTalk::shell(), Actions::default());
        talk.input(b"exit 3\n", &mut actions);
        assert!(!talk.wants_input() && actions.com1.is_empty());
        talk.end_input(&mut actions);
        talk.console(b"ringfence: userspace re", &mut actions);
        talk.console(b"ached\r\n", &mut actions);
        assert_eq!(actions.com1, b"exit 3\n\x04");
        assert!(talk.has_started() && talk.wants_input());
        talk.console(b"~ # exit 3\r\n\r\nringfence: status 3\r\n", &mut actions);
        assert_eq!(actions.ending, Some(Ending::Guest(3)));
        assert!(talk.leave(&mut actions));
    }
}
