//! Signals and system calls that wait: interrupted, restarted, or waiting for just that.

#![allow(unsafe_code)] // handlers

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::{fs, thread};

use nix::errno::Errno;
use nix::libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid};

use super::log;
use crate::child::{self, End};
use crate::report::Report;

pub fn run(report: &mut Report) -> io::Result<()> {
    report.expect("read without restart", interrupted_read(SaFlags::empty())?, "Err(EINTR) !".to_owned());
    report.expect("read with restart", interrupted_read(SaFlags::SA_RESTART)?, "Ok(1) !".to_owned());

    handle(SaFlags::empty())?;
    let set: SigSet = [Signal::SIGUSR1].into_iter().collect();
    set.thread_block()?;
    raise(Signal::SIGUSR1)?;
    report.expect("blocked", log::take(), String::new());
    // Unblocks, waits and blocks in one; the handler runs within.
    SigSet::empty().suspend()?;
    report.expect("sigsuspend", log::take(), "!".to_owned());

    raise(Signal::SIGUSR1)?;
    report.expect("sigwait", set.wait()?, Signal::SIGUSR1);

    let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    report.check("signalfd is empty", descriptor.read_signal()?.is_none());
    raise(Signal::SIGUSR1)?;
    let ready = poll(&mut [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)?;
    let signal = descriptor.read_signal()?.map(|signal| signal.ssi_signo);
    report.expect("signalfd", (ready, signal), (1, Some(Signal::SIGUSR1 as u32)));
    set.thread_unblock()?;
    report.expect("no handler for those that were waited for", log::take(), String::new());
    Ok(())
}

fn handle(flags: SaFlags) -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), flags, SigSet::empty());
    // SAFETY: the handler only notes a character.
    unsafe { sigaction(Signal::SIGUSR1, &action) }?;
    Ok(())
}

extern "C" fn note(_: c_int) {
    log::note(b'!');
}

/// A child signals us while we read from a pipe, then writes a byte.
fn interrupted_read(flags: SaFlags) -> io::Result<String> {
    handle(flags)?;
    let (mut reader, mut writer) = io::pipe()?;
    let parent = getpid();
    let sender = child::start(move || {
        while !sleeps(parent) {
            thread::yield_now();
        }
        let sent = kill(parent, Signal::SIGUSR1).is_ok();
        // Until the signal has had its effect, whatever that was: a read that finds something to read before it sees
        // the signal is not interrupted.
        while pends(parent) {
            thread::yield_now();
        }
        // There may be no reader any more.
        let _ = writer.write(b"x");
        i32::from(!sent)
    })?;
    let result = nix::unistd::read(&reader, &mut [0]);
    let seen = format!("{result:?} {}", log::take());
    if result == Err(Errno::EINTR) {
        let count = reader.read(&mut [0])?;
        debug_assert_eq!(count, 1);
    }
    match child::wait(sender)? {
        End::Code(0) => Ok(seen),
        other => Err(io::Error::other(format!("the sender of a signal ended with {other:?}"))),
    }
}

/// Whether our signal waits for a process or its thread, by the masks in its `status` (`proc(5)`).
fn pends(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let masks = status.lines().filter_map(|line| line.split_once("Pnd:\t"));
    let bit = 1_u64 << (Signal::SIGUSR1 as u32 - 1);
    masks.into_iter().any(|(_, mask)| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & bit != 0))
}

/// Whether a process waits in a system call, by the third field of its `stat` (`proc(5)`).
fn sleeps(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}
