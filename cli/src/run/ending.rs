//! How a run ends, and what Ringfence then says and exits with.

use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;
use machine::Outcome;
use signal_hook::consts::SIGKILL;

use super::driver::Finished;
use crate::exit::{Exit, by_signal};
use crate::failure::Failure;
use crate::output::Stream;

/// What the self-test's verdicts make the machine exit with.
const PASSED: u8 = 2 * selftest::SUCCESS + 1;
const FAILED: u8 = 2 * selftest::FAILURE + 1;

/// Why a run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command or shell ended with this status.
    Guest(u8),
    /// The command could not be started.
    NotRun {
        /// 126 or 127.
        code: u8,
        /// Why.
        message: String,
    },
    /// The guest's agent speaks another version of the protocol.
    AgentVersion(u16),
    /// The guest's agent, and with it the command, is gone: the guest, or its agent, started anew.
    AgentGone,
    /// The user left.
    Left,
    /// Somebody pulled the plug.
    Killed,
    /// A signal to us.
    Signal(i32),
    /// Our output cannot be written.
    Output(Stream, String),
    /// The time-out.
    TimeOut,
    /// User space was not reached in time.
    NeverStarted,
    /// The kernel panicked and did nothing after it.
    Panicked,
    /// The guest turned the machine off.
    PowerOff,
    /// It asked for a reset.
    Reset,
    /// Its CPU shut down; how.
    TripleFault(String),
    /// It wrote to the debug-exit port: twice what it wrote, and one, as in QEMU.
    DebugExit(u8),
    /// The machine was stopped. Not by the guest.
    Stopped,
    /// The host failed.
    Host(String),
    /// The machine's thread is gone without a word.
    Vanished,
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::PowerOff => Self::PowerOff,
            Outcome::Reset => Self::Reset,
            Outcome::TripleFault(how) => Self::TripleFault(how),
            Outcome::BadFetch(at) => {
                Self::TripleFault(format!("it ran into {:#x}, where there is no memory", at.0))
            }
            // An exit status has eight bits.
            Outcome::DebugExit(code) => Self::DebugExit(code as u8),
            Outcome::GuestPanic => Self::Panicked,
            Outcome::Stopped => Self::Stopped,
            Outcome::EngineFailed(error) => Self::Host(error.to_string()),
        }
    }
}

/// What a message about the ending needs to know.
#[derive(Clone, Debug)]
pub struct Context {
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--boot-timeout`.
    pub boot_timeout: Duration,
    /// Where the console log is.
    pub log: Option<PathBuf>,
    /// Was a command given, which should end before the machine does?
    pub awaits_command: bool,
    /// Is this the self-test kernel?
    pub selftest: bool,
}

impl Context {
    /// The exit status, or what to say.
    pub fn conclude(&self, finished: Finished) -> Result<u8, Failure> {
        let Finished { ending, panic, started } = finished;
        let failure = match (ending, panic) {
            (Ending::Guest(status), _) => return Ok(status),
            (Ending::Left, _) => return Ok(0),
            (Ending::Killed, _) => return Ok(by_signal(SIGKILL)),
            (Ending::Signal(signal), _) => return Ok(by_signal(signal)),
            (Ending::DebugExit(PASSED), _) if self.selftest => return Ok(0),
            (Ending::DebugExit(code), _) if !(self.selftest && code == FAILED) => return Ok(code),
            (Ending::NotRun { code, message }, _) => {
                return Err(Failure { status: code, message, hint: None });
            }
            (Ending::AgentVersion(version), _) => {
                let ours = agent::VERSION;
                let text =
                    format!("the agent in the image speaks version {version} of its protocol, not {ours}");
                return Err(Failure::host(text).hint(
                    "run `ringfence image pull` for the image, or `ringfence image build` if that made it",
                ));
            }
            (Ending::AgentGone, None) => {
                Failure::new(Exit::WentOff, "the guest's agent went away before the command ended")
            }
            (Ending::Output(stream, error), _) => {
                let name = match stream {
                    Stream::Out => "standard output",
                    Stream::Err => "standard error",
                };
                return Err(Failure::host(format!("cannot write {name}: {error}")));
            }
            (Ending::TimeOut, _) => Failure::new(Exit::TimeOut, self.timed_out(started)),
            (_, Some(reason)) => Failure::new(Exit::Panic, format!("the guest's kernel panicked: {reason}")),
            (Ending::Panicked, None) => Failure::new(Exit::Panic, "the guest's kernel panicked"),
            (Ending::TripleFault(how), _) => {
                Failure::new(Exit::TripleFault, format!("triple fault: the guest's CPU shut down ({how})"))
            }
            (Ending::NeverStarted, _) => {
                let limit = format_duration(self.boot_timeout);
                Failure::new(
                    Exit::NeverStarted,
                    format!("the guest never started: no user space within {limit}"),
                )
            }
            (Ending::DebugExit(_), _) => {
                Failure::new(Exit::SelfTest, "the self-test found faults: see the FAIL lines above")
            }
            (ending @ (Ending::PowerOff | Ending::Reset), _) => match self.went_off(&ending, started) {
                Some(failure) => failure,
                None => return Ok(0),
            },
            (Ending::Host(what), _) => Failure::host(what),
            (Ending::Stopped | Ending::Vanished, _) => {
                Failure::host("the machine stopped without a word; this is a fault of Ringfence")
            }
        };
        Err(self.with_log(failure))
    }

    fn timed_out(&self, started: bool) -> String {
        let limit = self.timeout.map_or_else(String::new, |limit| format!(" of {}", format_duration(limit)));
        let when = if started { "" } else { ", before the guest's user space ran" };
        format!("the time-out{limit} ran out{when}; the machine was stopped")
    }

    fn went_off(&self, ending: &Ending, started: bool) -> Option<Failure> {
        let what = match ending {
            Ending::Reset => "reset the machine",
            _ => "turned the machine off",
        };
        match (started, self.awaits_command) {
            (false, _) => {
                Some(Failure::new(Exit::NeverStarted, format!("the guest never started: it {what} before")))
            }
            (true, true) => {
                Some(Failure::new(Exit::WentOff, format!("the guest {what} before the command ended")))
            }
            (true, false) => None,
        }
    }

    fn with_log(&self, failure: Failure) -> Failure {
        match &self.log {
            Some(log) => failure.hint(format!("the console log is {}", log.display())),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            timeout: Some(Duration::from_secs(90)),
            boot_timeout: Duration::from_secs(300),
            log: Some("/state/console.log".into()),
            awaits_command: true,
            selftest: false,
        }
    }

    fn concluded(
        context: &Context,
        ending: Ending,
        panic: Option<&str>,
        started: bool,
    ) -> Result<u8, Failure> {
        context.conclude(Finished { ending, panic: panic.map(str::to_owned), started })
    }

    #[test]
    fn a_guests_status_is_ours_whatever_else_happened() {
        for status in [0, 1, 7, 137, 200, 255] {
            assert_eq!(concluded(&context(), Ending::Guest(status), Some("late"), true).unwrap(), status);
        }
        assert_eq!(concluded(&context(), Ending::Signal(2), None, false).unwrap(), 130);
        assert_eq!(concluded(&context(), Ending::Left, None, true).unwrap(), 0);
        assert_eq!(concluded(&context(), Ending::Killed, None, true).unwrap(), 137);
        assert_eq!(concluded(&context(), Ending::DebugExit(33), None, true).unwrap(), 33);
    }

    #[test]
    fn every_mishap_has_a_status_of_its_own_and_names_the_log() {
        let cases = [
            (Ending::Reset, Some("no root"), true, 200, "panicked: no root"),
            (Ending::PowerOff, Some("no root"), false, 200, "panicked: no root"),
            (Ending::Panicked, Some("no root"), false, 200, "panicked: no root"),
            (Ending::TripleFault("#PF in #DF".into()), None, false, 201, "#PF in #DF"),
            (Ending::TimeOut, None, false, 202, "time-out of 1m 30s ran out, before"),
            (Ending::TimeOut, Some("no root"), true, 202, "time-out of 1m 30s ran out; "),
            (Ending::NeverStarted, None, false, 203, "within 5m"),
            (Ending::PowerOff, None, false, 203, "turned the machine off before"),
            (Ending::Reset, None, false, 203, "reset the machine before"),
            (Ending::PowerOff, None, true, 204, "turned the machine off before the command ended"),
            (Ending::Reset, None, true, 204, "reset the machine before the command ended"),
            (Ending::Host("no memory".into()), None, true, 205, "no memory"),
            (Ending::Vanished, None, true, 205, "fault of Ringfence"),
        ];
        for (ending, panic, started, status, words) in cases {
            let failure = concluded(&context(), ending.clone(), panic, started).unwrap_err();
            assert_eq!(failure.status, status, "{ending:?}");
            assert!(failure.message.contains(words), "{}", failure.message);
            assert_eq!(failure.hint.as_deref(), Some("the console log is /state/console.log"));
        }
    }

    #[test]
    fn without_a_command_the_machine_may_go_off() {
        let context = Context { awaits_command: false, ..context() };
        assert_eq!(concluded(&context, Ending::PowerOff, None, true).unwrap(), 0);
        assert_eq!(concluded(&context, Ending::Reset, None, true).unwrap(), 0);
        assert_eq!(concluded(&context, Ending::Reset, Some("x"), true).unwrap_err().status, 200);
        assert_eq!(concluded(&context, Ending::PowerOff, None, false).unwrap_err().status, 203);
    }

    #[test]
    fn the_self_tests_verdict() {
        let context = Context { awaits_command: false, selftest: true, ..context() };
        assert_eq!(concluded(&context, Ending::DebugExit(33), None, true).unwrap(), 0);
        let failure = concluded(&context, Ending::DebugExit(35), None, true).unwrap_err();
        assert_eq!(failure.status, 206);
        assert_eq!(concluded(&context, Ending::DebugExit(85), None, true).unwrap(), 85);
    }

    #[test]
    fn commands_that_cannot_be_run() {
        let ending = Ending::NotRun { code: 127, message: "nosuch: not found in the guest".into() };
        let failure = concluded(&context(), ending, None, true).unwrap_err();
        assert_eq!((failure.status, &failure.message[..]), (127, "nosuch: not found in the guest"));
    }
}
