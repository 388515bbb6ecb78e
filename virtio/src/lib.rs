//! Virtio 1.2: the devices that guests have drivers for.
//!
//! ```text
//!   pci        the transport: capabilities, registers, interrupts; the device's thread
//!   ├─ device     what a front is
//!   ├─ queue      rings; chains of descriptors, read once and checked
//!   └─ back       what stands behind a front: disk, network, console, sockets, directory
//!   blk …      one front a file
//! ```
//!
//! A front implements [`Device`]. It never sees a file or a socket of the host: behind it is a back-end of one of the
//! traits in [`back`].
//!
//! References like “5.2.6” are to the sections of *Virtual I/O Device (VIRTIO) Version 1.2*, OASIS, 2022.

#![deny(missing_docs)]

pub mod back;
mod balloon;
mod blk;
mod chain;
mod console;
mod device;
mod interrupt;
mod mistake;
mod net;
mod pci;
mod queue;
mod rings;
mod rng;
mod share;
mod vsock;

pub use balloon::{Balloon, BalloonHandle, BalloonState, Statistics};
pub use blk::{Blk, BlkState};
pub use chain::{Chain, MOST_DESCRIPTORS};
pub use console::{Console, ConsoleState, MOST_PORTS, Port};
pub use device::{Device, DeviceId};
pub use interrupt::Interrupt;
pub use mistake::Mistake;
pub use net::{Net, NetState};
pub use pci::VirtioPci;
pub use queue::{Fate, Progress, Queue, QueueConfig, QueueState};
pub use rings::{Rings, feature};
pub use rng::Rng;
pub use share::{Share, ShareState};
pub use vsock::{Vsock, VsockState};
