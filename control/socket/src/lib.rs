//! The socket through which a running virtual machine is reached.
//!
//! Each machine of `ringfence run` has one, in a directory that only its user can enter. Over it the other commands
//! find the machine (`ps`), run commands in it (`exec`), end it, give it devices and take them away. `docs/control.md`
//! has the protocol for those who speak it themselves.
//!
//! ```text
//!   Registry ── a directory: one lock and one socket a machine ── sweeps what dead machines left
//!      │ claim                                    │ connect
//!      ▼                                          ▼
//!   Server ── Connection ◄── lines of JSON ──► Connection ── Client
//!      │
//!      ▼
//!   Machine: whoever answers
//! ```
//!
//! **Who is at the other end.** Both ends check that the other is of the same user, or root. What comes in is hostile
//! all the same: lines have a longest length and must come whole within a while, clients have a greatest number, and what is not of the protocol is
//! answered with what is wrong and ends the connection.

#![deny(missing_docs)]

mod bytes;
mod client;
mod connection;
mod facts;
mod name;
mod registry;
mod reply;
mod request;
mod server;
mod stream;

pub use bytes::{Bytes, Word};
pub use client::{Client, ClientError};
pub use connection::{Connection, LONGEST_LINE, LineError, Reader, Writer};
pub use facts::{Device, DeviceKind, Facts, State};
pub use name::{BadName, Name};
pub use registry::{Claim, Registry, RegistryError};
pub use reply::{Greeting, Problem, ProblemKind, Reply};
pub use request::{Exec, Request, WindowSize};
pub use server::{MOST_CLIENTS, Machine, Server};
pub use stream::{FromCommand, FromConsole, ToCommand, ToConsole};

/// The version of the protocol that this crate speaks. A server says it in its first line.
///
/// It changes when a client of before would be misunderstood; new requests, replies and fields come without.
pub const PROTOCOL: u32 = 1;
