//! Behind a port of a console.

use std::os::fd::BorrowedFd;

/// One port's other end: a terminal, a socket, a channel to a program.
pub trait Console: Send {
    /// Takes output of the guest. Gives how many bytes were taken, the first ones; fewer than all mean that
    /// the rest is to be offered again at the next wake.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// Gives input for the guest. Zero: there is none now.
    fn read(&mut self, into: &mut [u8]) -> usize;
    /// Is somebody there?
    fn connected(&self) -> bool;
    /// The terminal's size in columns and rows, if it is one.
    fn size(&self) -> Option<(u16, u16)> {
        None
    }
    /// Silences the wake: the front looks at all of the above afterwards.
    fn answer(&mut self);
    /// Readable when there is news since it was last [answered](Console::answer): input, room after a short
    /// [`Console::write`], another [`Console::connected`] or [`Console::size`]. Always the same descriptor.
    fn wake(&self) -> BorrowedFd<'_>;
}
