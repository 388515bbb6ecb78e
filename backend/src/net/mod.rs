//! What stands behind a network interface.

mod alarm;
mod captured;
mod frame;
mod limited;
mod mac;
pub mod offload;
pub mod switch;
#[cfg(test)]
mod testing;
pub mod user;

pub use captured::Captured;
pub use frame::Frame;
pub use limited::Limited;
pub use mac::{Mac, NotAMac};
