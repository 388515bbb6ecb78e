//! What an operating system's kernel does for programs. Each workload does one thing, often.

#![allow(unsafe_code)] // system calls

mod child;
mod execute;
mod fault;
mod file;
mod fork;
mod futex;
mod pipe;
mod signal;
mod switch;
mod syscall;

pub use child::Child;
pub use execute::NOTHING;

use crate::workload::{Class, Workload};

const fn kernel(
    name: &'static str,
    about: &'static str,
    start: fn() -> std::io::Result<crate::workload::Round>,
) -> Workload {
    Workload { name, class: Class::Kernel, about, start }
}

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    kernel("syscall", "20 000 system calls that do nothing", syscall::start),
    kernel("pipe", "300 bytes there and back between two processes", pipe::start),
    kernel("fork", "20 processes that end at once", fork::start),
    kernel("exec", "10 programs that end at once", execute::start),
    kernel("fault", "2048 pages mapped, touched, unmapped", fault::start),
    kernel("switch", "500 turns of two processes that yield to each other", switch::start),
    kernel("file", "40 files made, written, read, removed", file::start),
    kernel("signal", "1000 signals to oneself", signal::start),
    kernel("futex", "300 turns of two threads that wake each other", futex::start),
];
