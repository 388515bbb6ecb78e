//! Code that somebody else writes: another thread, another process, or a process with a copy of the page.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Release};
use std::thread;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::ProtFlags;
use nix::unistd::ftruncate;

use super::code::{Code, constant, put, run_at, serialise};
use crate::Scale;
use crate::child::{self, End};
use crate::mmap::{Mapping, PAGE};
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let rounds = 500 * scale.rounds;
    let code = Code::new()?;
    report.check("another thread writes", other_thread(&code, rounds));

    // After a fork both have the page; what one writes the other does not run.
    code.put(0, &constant(1));
    report.check("before the fork", code.run(0) == Ok(1));
    let child = child::start(|| {
        let inherited = code.run(0) == Ok(1);
        code.put(0, &constant(2));
        i32::from(!inherited || code.run(0) != Ok(2))
    })?;
    code.put(0, &constant(3));
    report.expect("the child's copy", child::wait(child)?, End::Code(0));
    report.check("the parent's copy", code.run(0) == Ok(3));
    other_process(report, rounds)
}

/// One thread writes, one runs; the number of the round goes back and forth.
fn other_thread(code: &Code, rounds: u32) -> bool {
    let (written, done) = (AtomicU32::new(0), AtomicU32::new(0));
    // Only the address goes to the other thread: the code pages themselves stay with this one.
    let address = code.at(128);
    thread::scope(|scope| {
        let runner = scope.spawn(|| {
            let mut right = true;
            for round in 1..=rounds {
                while written.load(Acquire) < round {
                    thread::yield_now();
                }
                serialise();
                right &= run_at(address) == Ok(u64::from(round));
                done.store(round, Release);
            }
            right
        });
        for round in 1..=rounds {
            code.put(128, &constant(round));
            written.store(round, Release);
            while done.load(Acquire) < round {
                thread::yield_now();
            }
        }
        runner.join().unwrap_or(false)
    })
}

/// A child runs what the parent writes into a page that both have.
fn other_process(report: &mut Report, rounds: u32) -> io::Result<()> {
    let file = memfd_create("workout", MFdFlags::MFD_CLOEXEC)?;
    ftruncate(&file, PAGE as i64)?;
    let writable = Mapping::shared(file.as_fd(), 1, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
    let runnable = Mapping::shared(file.as_fd(), 1, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC)?;
    let ((mut orders, mut order), (mut answers, mut answer)) = (io::pipe()?, io::pipe()?);
    let child = child::start(move || {
        for _ in 0..rounds {
            let mut byte = [0];
            if orders.read_exact(&mut byte).is_err() {
                return 1;
            }
            serialise();
            let result = run_at(runnable.address()).unwrap_or(u64::MAX);
            if answer.write_all(&result.to_le_bytes()).is_err() {
                return 2;
            }
        }
        0
    })?;
    let mut right = true;
    for round in 0..rounds {
        // The child runs it only when it is told to.
        put(&writable, 0, &constant(round ^ 0x5555_5555));
        order.write_all(b"!")?;
        let mut result = [0; 8];
        answers.read_exact(&mut result)?;
        right &= u64::from_le_bytes(result) == u64::from(round ^ 0x5555_5555);
    }
    report.check("another process writes", right);
    report.expect("the process that runs it", child::wait(child)?, End::Code(0));
    Ok(())
}
