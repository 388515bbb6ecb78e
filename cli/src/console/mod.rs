//! The kernel's console, COM1: what it writes goes to a log file, to whoever watches for certain lines, to
//! those who watch it from outside, and to the screen if that wants it.

mod lines;
mod log;
mod sign;
mod sink;
mod taps;

pub use lines::Lines;
pub use log::Log;
pub use sign::Sign;
pub use sink::Sink;
pub use taps::{Tapped, Taps};
