//! Code that is written while the program runs: rewritten in place, through another mapping, by another
//! thread or process, and by itself.

mod code;
mod maps;
mod others;
mod program;
mod rewrite;

use std::io;

pub use code::{constant, put, serialise};

use crate::report::Report;
use crate::{Scale, trap};

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    trap::install()?;
    rewrite::run(report, scale)?;
    maps::run(report, scale)?;
    others::run(report, scale)?;
    program::run(report, scale)
}
