//! On a terminal every key is the guest's but one, and the terminal is afterwards what it was before.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;

use crate::support::User;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `ringfence run selftest` with `append`, on a terminal.
struct OnTerminal {
    child: Child,
    screen: File,
    terminal: File,
    before: Termios,
    shown: String,
    _user: User,
}

impl OnTerminal {
    fn start(append: &str, timeout: &str) -> Self {
        let user = User::new();
        let pair = openpty(None, None).expect("a pseudo-terminal");
        let (screen, terminal) = (File::from(pair.master), File::from(pair.slave));
        let before = tcgetattr(&terminal).expect("its settings");
        heed_signals();
        let mut command = user.command(["run", "selftest", "--append", append, "--timeout", timeout]);
        let clone = || terminal.try_clone().expect("another descriptor");
        command.stdin(clone()).stdout(clone()).stderr(clone());
        let child = command.spawn().expect("ringfence starts");
        Self { child, screen, terminal, before, shown: String::new(), _user: user }
    }

    /// Reads the screen until `words` are on it.
    fn await_words(&mut self, words: &str) {
        let until = Instant::now() + PATIENCE;
        let mut bytes = [0; 4096];
        while !self.shown.contains(words) {
            let left = until.saturating_duration_since(Instant::now());
            let mut wait = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
            let left = PollTimeout::try_from(left).expect("a minute fits");
            assert_eq!(poll(&mut wait, left), Ok(1), "{words:?} is not in {}", self.shown);
            let count = self.screen.read(&mut bytes).expect("the screen can be read");
            self.shown += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.screen.write_all(keys).expect("keys can be typed");
    }

    fn local_flags(&self) -> LocalFlags {
        tcgetattr(&self.terminal).expect("its settings").local_flags
    }

    /// Waits for the end, and looks at the terminal.
    fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(tcgetattr(&self.terminal).expect("its settings"), self.before, "the terminal is restored");
        self.terminal.write_all(b"<end>").expect("the terminal takes it");
        self.await_words("<end>");
        (status, std::mem::take(&mut self.shown))
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // Gone already where the test got as far as end().
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this process was started to ignore, in the background or by nohup(1), `ringfence` would ignore, too.
#[allow(unsafe_code)] // signal(2)
fn heed_signals() {
    for heeded in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(heeded, SigHandler::SigDfl) }.expect("a signal that can be heeded");
    }
}

#[test]
fn every_key_is_the_guests_but_the_one_that_leaves() {
    let mut run = OnTerminal::start("echo", "300");
    run.await_words("Ctrl-] leaves");
    run.await_words("echo until");
    assert!(!run.local_flags().intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
    run.type_in(b"a\x03z");
    run.await_words("a\x03z");
    run.type_in(b"\x1d");
    assert_eq!(run.end().0.code(), Some(0));
}

#[test]
fn signals_and_time_outs_restore_the_terminal() {
    for (signal, status) in
        [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130), (Signal::SIGQUIT, 131)]
    {
        let mut run = OnTerminal::start("echo", "300");
        run.await_words("echo until");
        kill(Pid::from_raw(run.child.id() as i32), signal).expect("a child of ours");
        assert_eq!(run.end().0.code(), Some(status));
    }
    let run = OnTerminal::start("crash=hang", "2");
    let (status, shown) = run.end();
    assert_eq!(status.code(), Some(202));
    assert!(shown.contains("the time-out of 2s ran out"), "{shown}");
}

#[test]
fn colours_are_for_terminals() {
    let run = OnTerminal::start("exit=0", "300");
    let (status, shown) = run.end();
    assert_eq!(status.code(), Some(1));
    assert!(shown.contains("\x1b[1m"), "{shown}");
}
