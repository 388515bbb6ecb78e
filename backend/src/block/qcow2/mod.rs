//! The qcow2 format, as far as it is ours: what the library does not check or do.
//!
//! The library (`imago`) keeps the tables, allocates and copies on write. Before it sees an image, [`Header::read`] has
//! accepted its header; while it writes one, the header's dirty bit is up ([`set_dirty`]); when the next one finds it
//! up, [`rebuild`] counts again. The format is QEMU's `docs/interop/qcow2.txt`; names are from there.

mod header;
mod rebuild;
mod refused;

pub use header::{BackingName, Header, set_dirty};
pub use rebuild::{Counted, rebuild};
pub use refused::Refused;
