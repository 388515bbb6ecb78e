//! Behind a socket device.

use std::os::fd::BorrowedFd;

/// Names a stream at the back-end, from when it is told of or made until [`Vsock::close`].
pub type Stream = usize;

/// What has happened at the back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VsockNews {
    /// Somebody on the host asks for a port of the guest's. To be answered by [`Vsock::accept`] or [`Vsock::close`].
    Incoming {
        /// The new stream.
        stream: Stream,
        /// The guest's port.
        port: u32,
    },
    /// There may be something to read again.
    Readable(Stream),
    /// There may be room again.
    Writable(Stream),
    /// The other end is gone altogether: it reads no more, either. What it had sent can still be read.
    Gone(Stream),
}

/// What reading from a stream gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes: at least one.
    Bytes(usize),
    /// There are none now. [`VsockNews::Readable`] tells when there may be.
    Nothing,
    /// The other end sends no more.
    End,
}

/// A stream that neither gives nor takes anything any more: its other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end is gone")]
pub struct Broken;

/// The host's side of a machine's sockets: streams of bytes to and from its ports. What the packets between guest and
/// device say is the front's alone.
pub trait Vsock: Send {
    /// The guest connects to a port of the host's. `None` where nobody listens, or there is no room for more.
    fn connect(&mut self, port: u32) -> Option<Stream>;
    /// The guest has taken an [incoming](VsockNews::Incoming) stream, which has this port on the host's side.
    fn accept(&mut self, stream: Stream, host_port: u32);
    /// Reads bytes for the guest.
    ///
    /// # Errors
    /// [`Broken`].
    fn read(&mut self, stream: Stream, into: &mut [u8]) -> Result<Heard, Broken>;
    /// Takes bytes of the guest's. Gives how many were taken, the first ones; fewer than all mean that
    /// [`VsockNews::Writable`] will tell when there is room.
    ///
    /// # Errors
    /// [`Broken`].
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<usize, Broken>;
    /// The guest sends no more: the other end reads an end.
    fn end(&mut self, stream: Stream);
    /// The stream is over for the guest, or was never taken. Its name may come again.
    fn close(&mut self, stream: Stream);
    /// Adds what has happened since the last call, and silences the wake.
    fn news(&mut self, into: &mut Vec<VsockNews>);
    /// Readable when there is news. Always the same descriptor.
    fn wake(&self) -> BorrowedFd<'_>;
}
