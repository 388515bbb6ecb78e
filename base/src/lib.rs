//! The ground everything else stands on: guest addresses, guest memory and buffers in it, the watch over its
//! pages, typed saved state, virtual time, bells between threads, directories of one user's alone. Nothing here knows x86.

#![deny(missing_docs)]

mod address;
mod bell;
mod buffer;
mod clock;
mod memory;
mod private;
mod runner;
mod saved;
mod scalar;
mod split;
mod watch;

pub use address::{GuestPhys, PAGE_SIZE, RamOffset};
pub use bell::Bell;
pub use buffer::{Buffer, Piece};
pub use clock::VirtualClock;
pub use memory::{
    GuestMemory, GuestMemoryView, HOLE_END, HOLE_START, MemoryError, OutOfRam, PERIOD, PERIOD_BITS,
};
pub use private::{PrivateError, private_directory, runtime_directory};
pub use runner::{Enlisted, Runner};
pub use saved::{Record, RestoreError, Saved};
pub use scalar::Scalar;
pub use watch::{RegionWatch, Watch};
