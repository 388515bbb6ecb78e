//! The protocol between the host and the guest agent.
//!
//! The agent (the binary of this crate) is process 1 of our guests. It runs commands for the host and speaks
//! with it over one byte channel: a port of a virtio console named [`PORT`], or the second serial port where the guest
//! has no driver for that. This library is
//! that conversation and nothing else, so that the host can use it without the agent; its types hold data
//! only.
//!
//! # Frames
//!
//! ```text
//! offset 0     1               5             7
//!        kind  session u32 LE  length u16 LE  body (length bytes)
//! ```
//!
//! The length is 16 bits wide, so no peer can make the other hold more than 64 KiB, and there is no "too
//! long" to check for. Data travels in pieces of at most [`DATA_CHUNK`] bytes so that sessions take turns.
//!
//! There is no checksum. The channel is memory shared with an emulated device, not a wire: it has no noise,
//! and whoever could corrupt it (the guest's kernel, the VM process) could forge a checksum too. What it
//! *can* have is foreign bytes at the start (a boot loader's greeting, a terminal's echo), or a peer that was
//! restarted in the middle of a frame. Both are mended by the handshake.
//!
//! # Handshake
//!
//! A [`Decoder`] starts by hunting: it drops everything up to a Hello, whose frame begins with a fixed
//! [magic](HELLO_MAGIC) of eight bytes. After a malformed frame it hunts again. So each side opens with a
//! Hello:
//!
//! 1. The agent says [`Reply::Hello`] as soon as the channel is in raw mode. The host writes nothing before
//!    that.
//! 2. The host says [`Request::Hello`], then whatever it likes.
//! 3. The agent answers *every* Hello of the host with one of its own, so a host that attaches to a guest
//!    that has long been up (a restored snapshot) just speaks first. A host that waited for (1) ignores that
//!    answer.
//! 4. An agent that hears something malformed says Hello, too, and hunts. So a Hello that the host did not
//!    ask for tells it that the other side has lost the thread, or was started anew: it says Hello again, and
//!    what it sent before may not have been heard.
//!
//! A Hello with another [`VERSION`] is delivered like any other; the receiver decides, and today there is
//! only one.
//!
//! # Sessions
//!
//! One command is one session, named by a number of the host's choosing that is free for use again once the
//! session has ended. Sessions run side by side, each by this course:
//!
//! ```text
//! host   Start ──┬─ Stdin … StdinEof, Resize, Signal, OutputTaken ───┐  (any number, any order)
//! agent          ├─ Started ─ Stdout, Stderr, StdinTaken … ─ Exited ─┘
//!                └─ Failed                                    (no such command: the shell's 127 or 126)
//! ```
//!
//! `Exited` is the last frame of its session, and all that the command wrote stands before it. Messages to a
//! session that has already ended cross its `Exited` on the way and are ignored. Without a terminal the
//! command's standard output and standard error arrive apart and byte-exact; with one there is a
//! pseudo-terminal, everything is `Stdout`, and what the user types (Ctrl-C, too) is `Stdin`, to be
//! interpreted by the guest's own terminal driver.
//!
//! # Flow control
//!
//! Sessions share the channel, so none may fill it. Each has two windows, of which [`Window`] keeps count.
//!
//! Of a session's input at most [`STDIN_WINDOW`] bytes may be under way; the agent gives room back by
//! `StdinTaken` as the command reads (or discards: a command that closed its input takes everything). So a
//! command that does not read holds up neither the Signal that is to end it nor anyone else. And the guest's
//! serial driver, which empties the 16-byte FIFO into the kernel's own buffer whether or not anyone reads it,
//! and drops what no longer fits there, has nothing to drop: the agent always reads the channel at once, and
//! with [`MAX_SESSIONS`] the total stays far below that buffer.
//!
//! Of its output, both streams together, at most [`OUTPUT_WINDOW`] bytes may be under way; the host gives room
//! back by `OutputTaken` as its user's program reads. When there is none the agent stops reading the pipes,
//! and the command stops in `write`.

mod body;
mod decoder;
mod message;
mod network;
mod reply;
mod request;
mod session;
mod share;
mod window;

pub use decoder::{Decoder, ProtocolError};
pub use message::{DATA_CHUNK, HELLO_MAGIC, MAX_BODY, Message, TooLong, VERSION};
pub use network::{Network, NotANetwork};
pub use reply::{Reply, Status};
pub use request::Request;
pub use session::{Command, SessionId, Variable, WindowSize};
pub use share::{SHARE_WORD, SHARES_AT, shares_in};
pub use window::{MAX_SESSIONS, OUTPUT_WINDOW, STDIN_WINDOW, Window};

/// The name of the console port that is the channel.
pub const PORT: &str = "org.ringfence.agent";
