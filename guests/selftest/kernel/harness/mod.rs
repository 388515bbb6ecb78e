//! What tests are, how they run and how they are reported.

#[macro_use]
mod text;
#[macro_use]
mod outcome;
mod baseline;
mod runner;
mod words;

pub use baseline::restore;
pub use outcome::{Failure, Outcome, Test, absent, mismatch, wrong};
pub use runner::run;
pub use text::Text;
pub use words::Words;
