//! The ground everything else stands on: guest addresses, guest memory, the watch over its pages,
//! typed saved state and virtual time. Nothing here knows x86.

#![deny(missing_docs)]

mod address;
mod clock;
mod memory;
mod saved;
mod scalar;
mod watch;

pub use address::{GuestPhys, PAGE_SIZE, RamOffset};
pub use clock::VirtualClock;
pub use memory::{
    GuestMemory, GuestMemoryView, HOLE_END, HOLE_START, MemoryError, OutOfRam, PERIOD, PERIOD_BITS,
};
pub use saved::{Record, RestoreError, Saved};
pub use scalar::Scalar;
pub use watch::{RegionWatch, Watch};
