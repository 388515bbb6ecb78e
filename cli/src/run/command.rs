//! A command or a shell in a guest that has the agent.

use std::env;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use agent::{Command, Reply, SessionId, TooLong, Variable};

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
    /// What the agent is asked to run.
    pub fn command(self) -> Command {
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
    wish: Wish,
    /// Shows a boot.
    boots: Box<dyn Fn() -> Boot>,
    boot: Option<Boot>,
    /// Is the machine there for this command alone, and goes off with it?
    owns_machine: bool,
}

impl CommandTalk {
    /// Will run `wish` under this number once the guest is up; what `boots` gives shows the boot until then.
    ///
    /// # Errors
    /// Where the command is too long.
    pub fn new(id: SessionId, wish: Wish, boots: Box<dyn Fn() -> Boot>) -> Result<Self, TooLong> {
        let session = Session::new(id, wish.clone().command())?;
        Ok(Self { session, wish, boot: Some(boots()), boots, owns_machine: true })
    }

    /// In a machine that goes on after the command.
    pub fn beside_others(self) -> Self {
        Self { owns_machine: false, ..self }
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
            Heard::Gone => actions.end(Ending::AgentGone),
            Heard::Version(version) => actions.end(Ending::AgentVersion(version)),
        }
    }

    fn send(&mut self, actions: &mut Actions) {
        actions.requests.extend(self.session.take_outgoing());
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

    fn agent(&mut self, reply: Option<Reply>, actions: &mut Actions) {
        let heard = match reply {
            Some(reply) => self.session.hear(reply),
            None => self.session.lose(),
        };
        if let Some(heard) = heard {
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

    fn restart(&mut self, id: SessionId) {
        // It was not too long the first time.
        if let Ok(session) = Session::new(id, self.wish.clone().command()) {
            self.session = session;
            self.boot = Some((self.boots)());
        }
    }

    fn leave(&mut self, actions: &mut Actions) -> bool {
        if self.boot.is_some() || !self.owns_machine {
            return false;
        }
        self.session.power_off();
        self.send(actions);
        true
    }
}

#[cfg(test)]
mod tests {
    use agent::{Request, Status, VERSION};

    use super::*;

    fn talk() -> CommandTalk {
        let wish = Wish { argv: vec!["sh".into(), "-c".into(), "exit 7".into()], tty: false };
        CommandTalk::new(SessionId(1), wish, Box::new(|| Boot::Console { dim: false, shown: false })).unwrap()
    }

    fn say(talk: &mut CommandTalk, actions: &mut Actions, reply: &Reply) {
        talk.agent(Some(reply.clone()), actions);
    }

    #[test]
    fn from_the_boot_to_the_status() {
        let (mut talk, mut actions, session) = (talk(), Actions::default(), SessionId(1));
        talk.console(b"Linux", &mut actions);
        assert!(!talk.has_started() && !talk.wants_input());
        say(&mut talk, &mut actions, &Reply::Hello { version: VERSION });
        say(&mut talk, &mut actions, &Reply::Started { session, pid: 2 });
        assert!(talk.has_started() && talk.wants_input());
        talk.console(b"kernel chatter", &mut actions);
        say(&mut talk, &mut actions, &Reply::Stderr { session, bytes: b"error".to_vec() });
        let output: Vec<_> = actions.output.iter().map(|chunk| (chunk.stream, &chunk.bytes[..])).collect();
        assert_eq!(output, [(Stream::Out, &b"Linux"[..]), (Stream::Out, b"\r\n"), (Stream::Err, b"error")]);
        say(&mut talk, &mut actions, &Reply::Exited { session, status: Status::Signal(9) });
        assert_eq!(actions.ending, Some(Ending::Guest(137)));
        assert!(talk.leave(&mut actions));
        let requests: Vec<_> = actions.requests.into_iter().collect();
        assert!(
            matches!(&requests[0], Request::Start { command, .. } if command.argv.len() == 3 && command.tty.is_none())
        );
        assert_eq!(requests.last(), Some(&Request::PowerOff));
    }

    #[test]
    fn a_guest_that_has_not_started_is_not_asked_to_go() {
        let (mut talk, mut actions) = (talk(), Actions::default());
        assert!(!talk.signal(2, &mut actions) && !talk.leave(&mut actions));
        assert!(actions.requests.is_empty());
        say(&mut talk, &mut actions, &Reply::Hello { version: VERSION + 1 });
        assert_eq!(actions.ending, Some(Ending::AgentVersion(VERSION + 1)));
    }

    #[test]
    fn in_a_machine_that_goes_on_the_end_is_the_commands_own() {
        let (mut talk, mut actions, session) = (talk().beside_others(), Actions::default(), SessionId(1));
        say(&mut talk, &mut actions, &Reply::Hello { version: VERSION });
        say(&mut talk, &mut actions, &Reply::Started { session, pid: 2 });
        talk.agent(None, &mut actions);
        assert_eq!(actions.ending, Some(Ending::AgentGone));
        assert!(!talk.leave(&mut actions) && !actions.requests.contains(&Request::PowerOff));
    }

    #[test]
    fn without_a_command_it_is_a_shell() {
        let argv = |tty| Wish { argv: vec![], tty }.command();
        assert_eq!(argv(true).argv, [c"/bin/sh".to_owned(), c"-l".to_owned()]);
        assert!(argv(true).tty.is_some());
        assert_eq!(argv(false).argv, [c"/bin/sh".to_owned()]);
    }
}
