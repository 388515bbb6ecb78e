//! What stands behind a network interface.
//!
//! ```text
//!   front ⇄ Captured ⇄ Limited ⇄ ┬─ user     NAT over the host's sockets; no privileges
//!           (if asked) (if asked) ├─ tap      an interface of the host's, alone or in a bridge
//!                                 └─ switch   other machines on this host
//! ```
//!
//! Each is a [`virtio::back::Net`]. All of them work within the calls of the device's thread.

mod alarm;
mod captured;
mod frame;
mod limited;
mod mac;
pub mod offload;
mod open;
mod spec;
pub mod switch;
pub mod tap;
#[cfg(test)]
mod testing;
pub mod user;

pub use captured::Captured;
pub use frame::Frame;
pub use limited::Limited;
pub use mac::{Mac, NotAMac};
pub use open::{Error, Opened, open};
pub use spec::{Kind, Spec, SpecError};
