//! Processes: trees of them, how they end, what they become by exec, and who hears of it.

#![allow(unsafe_code)] // raise and a subreaper's prctl

use std::io;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid, pause, setpgid};

use crate::Scale;
use crate::child::{self, End};
use crate::digest::{Digest, hex};
use crate::report::Report;

/// The first argument of a process that this family executes.
pub const EXECUTED: &str = "--executed";

/// This program.
const MYSELF: &str = "/proc/self/exe";

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    for _ in 0..scale.rounds {
        report.expect("tree of 127", tree(6)?, 127);
    }
    codes(report)?;
    signals(report)?;
    for _ in 0..scale.rounds {
        report.expect(
            "exec chain of 20",
            Command::new(MYSELF).args([EXECUTED, "chain", "20"]).status()?.code(),
            Some(20),
        );
    }
    arguments(report)?;
    exec_errors(report);
    stop_and_continue(report)?;
    group(report)?;
    orphan(report)
}

/// A process with two such trees below it, of which all count themselves by their exit code.
fn tree(depth: u32) -> io::Result<i32> {
    if depth == 0 {
        return Ok(1);
    }
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(child::start(|| tree(depth - 1).unwrap_or(255))?);
    }
    let mut count = 1;
    for one in children {
        match child::wait(one)? {
            End::Code(code) => count += code,
            End::Signal(signal) => return Err(io::Error::other(format!("a node died of signal {signal}"))),
        }
    }
    Ok(count)
}

fn codes(report: &mut Report) -> io::Result<()> {
    let mut digest = Digest::new();
    let mut right = true;
    for code in 0..256 {
        // Bits above the eighth are cut off.
        let end = child::run(|| code | 0x5500)?;
        right &= end == End::Code(code);
        digest.bytes(format!("{end:?}").as_bytes());
    }
    report.value("exit codes", digest);
    report.check("exit codes as given", right);
    Ok(())
}

fn signals(report: &mut Report) -> io::Result<()> {
    let mut ends = Vec::new();
    for signal in
        [libc::SIGHUP, libc::SIGILL, libc::SIGABRT, libc::SIGFPE, libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM]
    {
        // SAFETY: signals only this process, a child made for it. Rust's own handlers go first: one of them
        // would take a SIGSEGV for a fault of the program's.
        let die = || unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal)
        };
        let End::Signal(end) = child::run(die)? else {
            return Err(io::Error::other(format!("signal {signal} did not end a process")));
        };
        ends.push(end);
    }
    report.expect("ends by signal", ends, vec![1, 4, 6, 8, 9, 11, 15]);
    Ok(())
}

fn arguments(report: &mut Report) -> io::Result<()> {
    let long = "x".repeat(100_000);
    let output = Command::new(MYSELF)
        .args([EXECUTED, "arguments", "", "two words", "\u{1f980}", &long])
        .env_clear()
        .env("ONE", "1")
        .env("EMPTY", "")
        .output()?;
    report.expect("arguments' exit code", output.status.code(), Some(6));
    report.value("arguments seen", String::from_utf8_lossy(&output.stdout).trim_end());
    Ok(())
}

fn exec_errors(report: &mut Report) {
    let error = |path: &str| {
        let error = Command::new(path).status().err().and_then(|error| error.raw_os_error());
        error.map(Errno::from_raw)
    };
    report.expect("no such program", error("/no/such/program"), Some(Errno::ENOENT));
    report.expect("program below a file", error("/proc/self/exe/x"), Some(Errno::ENOTDIR));
    report.expect("program that is a directory", error("/proc"), Some(Errno::EACCES));
}

fn stop_and_continue(report: &mut Report) -> io::Result<()> {
    let child = child::start(|| {
        // SAFETY: signals only this process.
        unsafe { libc::raise(libc::SIGSTOP) };
        33
    })?;
    let stopped = waitpid(child, Some(WaitPidFlag::WUNTRACED))?;
    report.check("stopped", stopped == WaitStatus::Stopped(child, Signal::SIGSTOP));
    report
        .check("nothing more to hear", waitpid(child, Some(WaitPidFlag::WNOHANG))? == WaitStatus::StillAlive);
    kill(child, Signal::SIGCONT)?;
    // The child may have run on to its end already; then that is what there is to hear.
    let continued = waitpid(child, Some(WaitPidFlag::WCONTINUED))?;
    let end = match continued {
        WaitStatus::Continued(_) => child::wait(child)?,
        WaitStatus::Exited(_, code) => End::Code(code),
        _ => End::Signal(0),
    };
    report.expect("end after continuing", end, End::Code(33));
    Ok(())
}

fn group(report: &mut Report) -> io::Result<()> {
    let mut children: Vec<Pid> = Vec::new();
    for _ in 0..4 {
        let child = child::start(|| {
            pause();
            1
        })?;
        // The first child's number is the group's.
        setpgid(child, *children.first().unwrap_or(&child))?;
        children.push(child);
    }
    killpg(children[0], Signal::SIGUSR1)?;
    let ends: io::Result<Vec<End>> = children.into_iter().map(child::wait).collect();
    report.expect("ends of a group", ends?, vec![End::Signal(libc::SIGUSR1); 4]);
    Ok(())
}

/// A grandchild whose parent ends becomes ours, once we say that we want such.
fn orphan(report: &mut Report) -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes a number and changes who inherits orphans, nothing else.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1_u64) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let reaper = getpid();
    let parent = child::start(|| {
        let parent = getpid();
        let grandchild = child::start(|| {
            while getppid() == parent {
                std::thread::yield_now();
            }
            i32::from(getppid() == reaper) + 40
        });
        i32::from(grandchild.is_err())
    })?;
    report.expect("the parent's end", child::wait(parent)?, End::Code(0));
    let orphan = waitpid(None::<Pid>, None)?;
    report.check("the orphan's end", matches!(orphan, WaitStatus::Exited(_, 41)));
    report.expect("children left", waitpid(None::<Pid>, None), Err(Errno::ECHILD));
    Ok(())
}

/// The life of a process that was executed by this family.
pub fn executed(arguments: &[String]) -> ExitCode {
    let what: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match what[..] {
        ["chain", "0"] => ExitCode::SUCCESS,
        ["chain", length] => {
            let below = length.parse::<u8>().map_or(0, |length| length.saturating_sub(1));
            let status = Command::new(MYSELF).args([EXECUTED, "chain", &below.to_string()]).status();
            let code = status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
            ExitCode::from(code.map_or(255, |code| code + 1))
        }
        ["arguments", ..] => {
            let mut variables: Vec<String> =
                std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            variables.sort();
            let digest = Digest::of(arguments.join("|").as_bytes());
            println!("{digest} {}", hex(variables.join("|").as_bytes()));
            ExitCode::from(u8::try_from(arguments.len() + 1).unwrap_or(255))
        }
        _ => ExitCode::from(255),
    }
}
