//! How a front tells its driver something: the transport knows by which interrupt.

/// The transport's side of a device's interrupts.
pub trait Interrupt: Send + Sync {
    /// A queue has used buffers.
    fn queue(&self, queue: u16);
    /// The configuration has changed.
    fn config(&self);
}
