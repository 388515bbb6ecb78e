//! The kernel's console, COM1: what it writes goes to a log file, to whoever watches for certain lines, and to
//! the screen if that wants it.

mod lines;
mod log;
mod sign;
mod sink;

pub use lines::Lines;
pub use log::Log;
pub use sign::Sign;
pub use sink::Sink;
