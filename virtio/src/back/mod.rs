//! What stands behind a device: one small trait per kind.
//!
//! A front knows queues and guest memory; a back-end knows files, sockets and other things of the host. What
//! passes between them are owned values and [`base::Buffer`]s, so the same back-end can stand behind
//! another front, or in another process.
//!
//! **Threads.** A back-end belongs to one device's thread, which makes all calls. None of them waits: what
//! takes time is done elsewhere, and the back-end's *wake* becomes readable when there is news. The thread
//! polls it for reading, level-triggered, while the device [listens](crate::Device::listens).

mod block;
mod console;
mod net;
mod share;
mod vsock;

pub use block::{Block, Completion, Facts, Failure, Op, Request, SECTOR, Topology};
pub use console::Console;
pub use net::{Header, Net, NetFacts, Offloads, Received, Sent};
pub use share::{Share, ShareReply, ShareRequest};
pub use vsock::{Broken, Heard, Stream, Vsock, VsockNews};
