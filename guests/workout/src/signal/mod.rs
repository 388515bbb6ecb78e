//! Signals: how they are delivered, what faults say, and that a handler leaves no trace in what it
//! interrupted.

mod arithmetic;
mod delivery;
mod faults;
mod log;
mod registers;
mod stack;
mod step;
mod waiting;

use std::io;

use crate::report::Report;
use crate::{Scale, trap};

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    trap::install()?;
    delivery::run(report)?;
    waiting::run(report)?;
    stack::run(report)?;
    for _ in 0..scale.rounds {
        faults::run(report)?;
        arithmetic::run(report);
    }
    step::run(report)?;
    registers::run(report, scale)
}
