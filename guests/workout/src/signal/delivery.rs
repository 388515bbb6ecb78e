//! Which handler runs, when, and what it is told.

#![allow(unsafe_code)] // handlers

use std::io;

use nix::libc::{self, c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use super::log;
use crate::child::{self, End};
use crate::report::Report;

pub fn run(report: &mut Report) -> io::Result<()> {
    set(Signal::SIGUSR1, SigHandler::SigAction(informed), SaFlags::SA_SIGINFO, &[])?;
    raise(Signal::SIGUSR1)?;
    report.expect("sent by a thread of ours", log::take(), "self".to_owned());

    let both = |masked: &[Signal]| -> io::Result<String> {
        set(Signal::SIGUSR1, SigHandler::Handler(outer), SaFlags::empty(), masked)?;
        set(Signal::SIGUSR2, SigHandler::Handler(inner), SaFlags::empty(), &[])?;
        raise(Signal::SIGUSR1)?;
        Ok(log::take())
    };
    report.expect("nested", both(&[])?, "a(b)A".to_owned());
    report.expect("nested, but masked", both(&[Signal::SIGUSR2])?, "aA(b)".to_owned());

    set(Signal::SIGUSR1, SigHandler::Handler(recursive), SaFlags::SA_NODEFER, &[])?;
    raise(Signal::SIGUSR1)?;
    report.expect("recursive", log::take(), "<<<<<>>>>>".to_owned());
    set(Signal::SIGUSR1, SigHandler::Handler(recursive), SaFlags::empty(), &[])?;
    raise(Signal::SIGUSR1)?;
    report.expect("deferred while it is handled", log::take(), "<><><><><>".to_owned());

    let once = child::run(|| {
        let ready = set(Signal::SIGUSR1, SigHandler::Handler(inner), SaFlags::SA_RESETHAND, &[]);
        let first = raise(Signal::SIGUSR1).is_ok() && log::take() == "(b)";
        // The second time the action is the default one, and that is the end.
        i32::from(ready.is_err() || !first || raise(Signal::SIGUSR1).is_ok())
    })?;
    report.expect("handled once only", once, End::Signal(libc::SIGUSR1));
    queue(report)
}

fn set(signal: Signal, handler: SigHandler, flags: SaFlags, masked: &[Signal]) -> io::Result<()> {
    let action = SigAction::new(handler, flags, masked.iter().copied().collect());
    // SAFETY: our handlers only note characters and send signals, which is async-signal-safe.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn informed(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes it, alive for the handler's time.
    let info = unsafe { &*info };
    // SAFETY: a signal that a process sent has its sender's number; getpid takes nothing.
    let from_us = unsafe { info.si_pid() == libc::getpid() };
    if signal == libc::SIGUSR1 && info.si_code == libc::SI_TKILL && from_us {
        b"self".iter().copied().for_each(log::note);
    }
}

extern "C" fn outer(_: c_int) {
    log::note(b'a');
    let _ = raise(Signal::SIGUSR2);
    log::note(b'A');
}

extern "C" fn inner(_: c_int) {
    b"(b)".iter().copied().for_each(log::note);
}

extern "C" fn recursive(_: c_int) {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    log::note(b'<');
    if DEPTH.fetch_add(1, SeqCst) < 4 {
        let _ = raise(Signal::SIGUSR1);
    } else {
        DEPTH.store(0, SeqCst);
    }
    log::note(b'>');
}

/// Real-time signals queue: the lowest number first, and of one number in the order sent.
fn queue(report: &mut Report) -> io::Result<()> {
    let first = libc::SIGRTMIN();
    let numbers = [first + 2, first, first + 1, first, first + 2];
    // SAFETY: `sigaction` and `sigset_t` are plain data, of which zeros are a value.
    let (mut action, mut mask): (libc::sigaction, libc::sigset_t) = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = queued;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: all pointers are to live values of the right types. The handlers mask each other, so that they
    // follow one another, and are async-signal-safe.
    unsafe {
        libc::sigemptyset(&raw mut mask);
        for offset in 0..3 {
            libc::sigaddset(&raw mut mask, first + offset);
        }
        action.sa_mask = mask;
        for offset in 0..3 {
            libc::sigaction(first + offset, &raw const action, std::ptr::null_mut());
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
        for (value, number) in numbers.into_iter().enumerate() {
            let value = libc::sigval { sival_ptr: value as *mut c_void };
            libc::sigqueue(libc::getpid(), number, value);
        }
    }
    report.expect("nothing while blocked", log::take(), String::new());
    // An ordinary signal does not queue: two are one.
    set(Signal::SIGUSR2, SigHandler::Handler(inner), SaFlags::empty(), &[])?;
    let ordinary: SigSet = [Signal::SIGUSR2].into_iter().collect();
    ordinary.thread_block()?;
    raise(Signal::SIGUSR2)?;
    raise(Signal::SIGUSR2)?;
    ordinary.thread_unblock()?;
    report.expect("ordinary signals merge", log::take(), "(b)".to_owned());
    // SAFETY: the mask lives.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const mask, std::ptr::null_mut()) };
    report.expect("real-time signals queue", log::take(), "0:1 0:3 1:2 2:0 2:4 ".to_owned());
    Ok(())
}

extern "C" fn queued(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes it, alive for the handler's time; a queued signal has a value.
    let value = unsafe { (*info).si_value() }.sival_ptr as usize;
    log::note(b'0' + (signal - libc::SIGRTMIN()) as u8);
    log::note(b':');
    log::note(b'0' + value as u8);
    log::note(b' ');
}
