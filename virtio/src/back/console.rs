//! Behind a port of a console.

use std::os::fd::BorrowedFd;

/// One port's other end: a terminal, a socket, a channel to a program.
pub trait Console: Send {
    /// Takes output of the guest. Gives how many bytes were taken, the first ones; fewer than all mean that
    /// the rest is to be offered again at the next wake.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// Gives input for the guest. Zero: there is none now. Silences the wake if there is no more.
    fn read(&mut self, into: &mut [u8]) -> usize;
    /// Is somebody there? The guest is told when it changes.
    fn connected(&self) -> bool;
    /// Readable while there is input, room after a short [`Console::write`], or a change of
    /// [`Console::connected`]. Always the same descriptor.
    fn wake(&self) -> BorrowedFd<'_>;
}
