//! A command or a shell in a guest that has the agent.

use std::env;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use agent::{Command, TooLong, Variable};

use super::boot::Boot;
use super::ending::Ending;
use super::talk::{Actions, Talk};
use crate::output::Stream;
use crate::session::{Heard, Session};
use crate::terminal;

/// What the user wants to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Program and arguments; empty for a shell.
    pub argv: Vec<OsString>,
    /// On a terminal?
    pub tty: bool,
}

impl Wish {
    fn command(self) -> Command {
        let argv = match (self.argv.is_empty(), self.tty) {
            (false, _) => self.argv,
            (true, true) => vec!["/bin/sh".into(), "-l".into()],
            (true, false) => vec!["/bin/sh".into()],
        };
        // Arguments of a process have no NUL in them.
        let argv = argv.into_iter().map(|word| CString::new(word.into_vec()).unwrap_or_default()).collect();
        let term =
            env::var_os("TERM").filter(|_| self.tty).and_then(|term| CString::new(term.as_bytes()).ok());
        let env = term.map(|value| Variable { name: c"TERM".into(), value }).into_iter().collect();
        Command { argv, env, cwd: CString::default(), tty: self.tty.then(terminal::window_size) }
    }
}

/// The conversation.
pub struct CommandTalk {
    session: Session,
    boot: Option<Boot>,
}

impl CommandTalk {
    /// Will run `wish` once the guest is up; `boot` shows the boot until then.
    ///
    /// # Errors
    /// Where the command is too long.
    pub fn new(wish: Wish, boot: Boot) -> Result<Self, TooLong> {
        Ok(Self { session: Session::new(wish.command())?, boot: Some(boot) })
    }

    fn hear(&mut self, heard: Heard, actions: &mut Actions) {
        match heard {
            Heard::Started => {
                if let Some(boot) = self.boot.take() {
                    boot.end(actions);
                }
                // The window may have changed since the command was made.
                self.resized(actions);
            }
            Heard::Stdout(bytes) => actions.write(Stream::Out, bytes),
            Heard::Stderr(bytes) => actions.write(Stream::Err, bytes),
            Heard::Exited(status) => actions.end(Ending::Guest(status.exit_code())),
            Heard::Failed { code, message } => actions.end(Ending::NotRun { code, message }),
            Heard::Version(version) => actions.end(Ending::AgentVersion(version)),
        }
    }

    fn send(&mut self, actions: &mut Actions) {
        actions.com2.append(&mut self.session.take_outgoing());
    }
}

impl Talk for CommandTalk {
    fn console(&mut self, bytes: &[u8], actions: &mut Actions) {
        if let Some(boot) = &mut self.boot {
            boot.show(bytes, actions);
        }
    }

    fn console_is_output(&self) -> bool {
        false
    }

    fn channel(&mut self, bytes: &[u8], actions: &mut Actions) {
        for heard in self.session.hear(bytes) {
            self.hear(heard, actions);
        }
        self.send(actions);
    }

    fn input(&mut self, bytes: &[u8], actions: &mut Actions) {
        self.session.input(bytes);
        self.send(actions);
    }

    fn end_input(&mut self, actions: &mut Actions) {
        self.session.end_input();
        self.send(actions);
    }

    fn wants_input(&self) -> bool {
        self.session.wants_input()
    }

    fn has_started(&self) -> bool {
        self.boot.is_none()
    }

    fn signal(&mut self, signal: u8, actions: &mut Actions) -> bool {
        let sent = self.session.signal(signal);
        self.send(actions);
        sent
    }

    fn resized(&mut self, actions: &mut Actions) {
        if self.session.has_terminal() {
            self.session.resize(terminal::window_size());
            self.send(actions);
        }
    }

    fn leave(&mut self, actions: &mut Actions) -> bool {
        if self.boot.is_some() {
            return false;
        }
        self.session.power_off();
        self.send(actions);
        true
    }
}
