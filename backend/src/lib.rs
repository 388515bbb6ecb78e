//! What stands behind a device: the host's side of a disk, a network, a socket or a
//! shared directory. Nothing here knows a register, a queue or a
//! guest-physical address; a device front hands over requests whose memory is checked already.

#![deny(missing_docs)]

pub mod block;
pub mod net;
pub mod share;
mod text;
pub mod vsock;
