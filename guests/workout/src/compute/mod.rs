//! Plain computing: much of it, and every bit of it known.

mod aes;
mod big;
mod checksum;
mod hash;
mod instructions;
mod integers;
mod matrix;
mod sort;

use std::io;

use crate::Scale;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    hash::run(report, scale);
    checksum::run(report, scale);
    sort::run(report, scale);
    big::run(report, scale);
    matrix::run(report, scale);
    integers::run(report, scale);
    instructions::run(report, scale);
    Ok(())
}
