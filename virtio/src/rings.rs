//! What a running device works with: the features agreed on, and its queues.

use std::sync::Arc;

use crate::interrupt::Interrupt;
use crate::queue::Queue;

/// Feature bits of rings and transport (section 6).
pub mod feature {
    /// Tables of descriptors outside of the ring.
    pub const RING_INDIRECT_DESC: u64 = 1 << 28;
    /// Each side says at which index it wants to hear of the other.
    pub const RING_EVENT_IDX: u64 = 1 << 29;
    /// This is not a legacy device.
    pub const VERSION_1: u64 = 1 << 32;
}

/// A device's queues in use.
pub struct Rings {
    features: u64,
    queues: Vec<Queue>,
    interrupt: Arc<dyn Interrupt>,
}

impl Rings {
    /// For the transport.
    pub fn new(features: u64, queues: Vec<Queue>, interrupt: Arc<dyn Interrupt>) -> Self {
        Self { features, queues, interrupt }
    }

    /// Have all these feature bits been agreed on?
    pub fn has(&self, features: u64) -> bool {
        self.features & features == features
    }

    /// A queue; those that the driver did not enable are always empty.
    ///
    /// # Panics
    /// If the device has no such queue.
    pub fn queue(&mut self, number: u16) -> &mut Queue {
        &mut self.queues[usize::from(number)]
    }

    /// All queues.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Tells the driver that the configuration has changed.
    pub fn config_changed(&self) {
        self.interrupt.config();
    }
}
