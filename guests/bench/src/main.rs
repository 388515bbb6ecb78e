//! A benchmark program that runs alike on the host and inside of guests.
//!
//! ```text
//! bench list
//! bench NAME… [--seconds S | --rounds N] [--copies N] [--pin CPU] [--marks]
//! ```
//!
//! `NAME` is a [workload](workload), a class of them, or `all`. Each does rounds of the same work, and prints the digest of a round's
//! result, the time of the first round, and the mean of those that came once all was warm ([`measure`]), by the system's
//! monotonic clock. With `--marks` it prints instead what a program reads that has a clock of its own:
//!
//! ```text
//! @begin NAME
//! @end NAME digest rounds nanoseconds-of-the-first nanoseconds-of-the-rounds nanoseconds-since-@begin
//! @absent NAME                                     instead, where the processor lacks what it needs
//! ```
//!
//! It runs on the plainest x86-64 processor, needs no file but itself, `/proc` for `exec`, and busybox for the class `programs`.

mod arguments;
mod copies;
mod digest;
mod float;
mod integer;
mod kernel;
mod measure;
mod memory;
mod programs;
mod random;
mod text;
mod v3;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use arguments::{Arguments, Task};
use workload::Workload;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == [kernel::NOTHING] {
        return ExitCode::SUCCESS;
    }
    let result = match Arguments::parse(&words) {
        Ok(Task::List) => list(),
        Ok(Task::Run(arguments)) => run(&arguments),
        Err(message) => {
            eprintln!("bench: {message}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> io::Result<()> {
    let mut out = io::stdout().lock();
    workload::all()
        .try_for_each(|Workload { name, class, about, .. }| writeln!(out, "{name:<14} {class:<9} {about}"))
}

fn run(arguments: &Arguments) -> io::Result<()> {
    if let Some(cpu) = arguments.pin {
        let mut cpus = CpuSet::new();
        cpus.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &cpus)?;
    }
    for workload in &arguments.workloads {
        let named = |error| io::Error::other(format!("{}: {error}", workload.name));
        one(workload, arguments).map_err(named)?;
    }
    Ok(())
}

fn one(workload: &Workload, arguments: &Arguments) -> io::Result<()> {
    let Workload { name, class, .. } = workload;
    if arguments.marks {
        println!("@begin {name}");
    }
    let begun = Instant::now();
    let measured = match arguments.copies {
        1 => measure::measure(workload, arguments.amount),
        copies => copies::measure_copies(workload, arguments.amount, copies),
    };
    let all = begun.elapsed();
    let measured = match measured {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            println!("{}{name}: {error}", if arguments.marks { "@absent " } else { "" });
            return Ok(());
        }
        measured => measured?,
    };
    let measure::Measured { digest, first, rounds, steady } = measured;
    if arguments.marks {
        let nanos = |time: Duration| time.as_nanos();
        println!("@end {name} {digest:016x} {rounds} {} {} {}", nanos(first), nanos(steady), nanos(all));
    } else {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{name:<14} {class:<9} {digest:016x} {:>12.4} ms a round ({rounds} in {:.3} s); the first {:.4} ms",
            millis(measured.round()),
            steady.as_secs_f64(),
            millis(first),
        );
    }
    Ok(())
}
