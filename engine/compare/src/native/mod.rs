//! The host's own CPU, in a child process.
//!
//! ```text
//!  parent                        shared mailbox                      child (forked, sandboxed)
//!  submit(start) ──► slot n: Start      submitted ──futex──►  lay out memory, load all registers
//!                                                              │ IRETQ
//!                                                              ▼
//!                                                             the case's code at fixed addresses
//!                                                              │ jump to EXIT, or a signal
//!                                                              ▼
//!  take() ◄─────────── slot n: End  ◄──futex── finished        save all registers, list what changed
//! ```
//!
//! The child runs thousands of cases without a system call between them: a case that comes to its end costs
//! about a microsecond, one that faults costs a signal. Nothing it does may harm the parent: it is a process
//! of its own, shares only the mailbox (bytes, checked or harmless) with us, and a seccomp filter leaves it
//! no system call from the pages of a case and next to none from elsewhere. If it dies all the same, the case
//! counts as broken and the next one gets a new child.
//!
//! The child never touches thread-local storage after its set-up, because FS belongs to the cases.

mod child;
mod mailbox;
mod sandbox;
mod signals;
mod stub;
mod views;

use std::io;
use std::sync::atomic::Ordering;

use crate::end::{End, Stop};
use crate::layout::IMAGE_BYTES;
use crate::start::Start;
use crate::subject::Subject;

use mailbox::Mailbox;
pub use mailbox::SLOTS;

/// Why the host's CPU cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The host is not what this needs.
    #[error("the native child needs {0}")]
    Unsupported(&'static str),
    /// The host's kernel refused something.
    #[error("the host refused {what} for the native child: {source}")]
    Host {
        /// What was asked.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

pub(crate) fn last_error(what: &'static str) -> NativeError {
    NativeError::Host { what, source: io::Error::last_os_error() }
}

/// The child, and the cases on their way to and from it.
#[derive(Debug)]
pub struct Native {
    mailbox: Mailbox,
    child: child::Child,
    submitted: u32,
    taken: u32,
    /// Children that died.
    pub deaths: u64,
}

impl Native {
    /// A fresh child whose memory has this background.
    ///
    /// # Errors
    /// [`NativeError`].
    pub fn new(background: &[u8; IMAGE_BYTES]) -> Result<Self, NativeError> {
        stub::check_host()?;
        let mailbox = Mailbox::new(background)?;
        let child = child::Child::spawn(&mailbox)?;
        Ok(Self { mailbox, child, submitted: 0, taken: 0, deaths: 0 })
    }

    /// Hands a case over. No more than [`SLOTS`] may be on their way.
    ///
    /// # Panics
    /// If there are more.
    pub fn submit(&mut self, start: &Start) {
        assert!(self.submitted.wrapping_sub(self.taken) < SLOTS as u32, "too many cases on their way");
        self.mailbox.put(self.submitted, start);
        self.submitted = self.submitted.wrapping_add(1);
        self.mailbox.control().submitted.store(self.submitted, Ordering::Release);
    }

    /// Wakes the child for what was submitted.
    pub fn flush(&self) {
        mailbox::wake(&self.mailbox.control().submitted);
    }

    /// How the oldest case on its way ended; waits for it.
    ///
    /// # Errors
    /// [`NativeError`] if a new child is needed and cannot be had.
    ///
    /// # Panics
    /// If no case is on its way.
    pub fn take(&mut self) -> Result<End, NativeError> {
        assert!(self.taken != self.submitted, "no case is on its way");
        loop {
            let finished = self.mailbox.control().finished.load(Ordering::Acquire);
            if finished != self.taken {
                let mut end = self.mailbox.end(self.taken);
                self.taken = self.taken.wrapping_add(1);
                end.normalize();
                if end.stop != Stop::EXCEPTION {
                    (end.vector, end.error, end.cr2) = (0, 0, 0); // the kernel tells those of an earlier one
                }
                return Ok(end);
            }
            mailbox::wait(&self.mailbox.control().finished, finished, Some(100));
            if self.mailbox.control().finished.load(Ordering::Acquire) == finished && self.child.is_dead() {
                // The case it died of is broken; the next child goes on behind it.
                self.deaths += 1;
                self.mailbox.set_end(finished, &End { stop: Stop::BROKEN, ..End::default() });
                self.mailbox.control().finished.store(finished.wrapping_add(1), Ordering::Release);
                self.child = child::Child::spawn(&self.mailbox)?;
            }
        }
    }
}

impl Subject for Native {
    fn name(&self) -> &str {
        "native"
    }

    fn run(&mut self, start: &Start) -> Result<End, crate::CompareError> {
        assert!(self.taken == self.submitted, "other cases are on their way");
        self.submit(start);
        self.flush();
        Ok(self.take()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ARENA, EXIT, background};

    fn native() -> Native {
        Native::new(&background(1)).unwrap()
    }

    /// A case of this code and the jump to its end.
    fn start(code: &[u8]) -> Start {
        let mut start = Start::default();
        let end = start.rip() + code.len() as u64 + 5;
        let code = [code, &[0xe9], &((EXIT - end) as u32).to_le_bytes()].concat();
        start.code[..code.len()].copy_from_slice(&code);
        start.code_len = code.len() as u32;
        start
    }

    #[test]
    fn a_sequence_runs_to_its_end() {
        let mut native = native();
        // ADD RAX, RBX; MOV [20000008h], RAX
        let mut case = start(&[0x48, 0x01, 0xd8, 0x48, 0x89, 0x04, 0x25, 8, 0, 0, 0x20]);
        case.gpr[0] = 40;
        case.gpr[3] = 2;
        case.fpu.ymm_high[15] = 77;
        for _ in 0..3 * SLOTS {
            let end = native.run(&case).unwrap();
            assert_eq!((end.stop, end.gpr[0], end.rip), (Stop::EXIT, 42, EXIT));
            assert_eq!((end.changed, end.changes[0].word, end.changes[0].value), (1, 1, 42));
            assert_eq!(end.fpu.ymm_high[15], 77);
        }
        assert_eq!(native.deaths, 0);
    }

    #[test]
    fn a_fault_is_told_with_its_address_and_the_child_lives_on() {
        let mut native = native();
        let mut case = start(&[0x50]); // PUSH RAX
        case.gpr[4] = ARENA + 3;
        case.rflags |= x86::flags::AC;
        for _ in 0..100 {
            let end = native.run(&case).unwrap();
            assert_eq!((end.stop, end.vector), (Stop::EXCEPTION, 17), "{end:x?}");
        }
        case.rflags &= !x86::flags::AC;
        for _ in 0..100 {
            let end = native.run(&case).unwrap();
            assert_eq!((end.stop, end.vector, end.error), (Stop::EXCEPTION, 14, 6));
            assert_eq!((end.cr2, end.gpr[4], end.rip), (ARENA - 5, ARENA + 3, case.rip()));
        }
        assert_eq!(native.deaths, 0);
    }

    #[test]
    fn a_system_call_and_an_endless_loop_are_caught() {
        let mut native = native();
        assert_eq!(native.run(&start(&[0x0f, 0x05])).unwrap().stop, Stop::SYSTEM_CALL);
        assert_eq!(native.run(&start(&[0xcd, 0x80])).unwrap().stop, Stop::SYSTEM_CALL, "INT 80h");
        assert_eq!(native.run(&start(&[0x31, 0xe4, 0xeb, 0xfc])).unwrap().stop, Stop::ENDLESS, "JMP $-2");
        assert_eq!(native.run(&start(&[0x90])).unwrap().stop, Stop::EXIT);
        assert_eq!(native.deaths, 0);
    }

    #[test]
    fn a_child_that_dies_is_replaced() {
        let mut native = native();
        native.submit(&start(&[0x90]));
        native.flush();
        assert_eq!(native.take().unwrap().stop, Stop::EXIT);
        native.child.kill();
        assert_eq!(native.run(&start(&[0x90])).unwrap().stop, Stop::BROKEN);
        assert_eq!(native.run(&start(&[0x90])).unwrap().stop, Stop::EXIT);
        assert_eq!(native.deaths, 1);
    }
}
