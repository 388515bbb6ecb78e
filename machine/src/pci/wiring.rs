//! What a function is given when it is put on the bus.

use std::io;
use std::sync::Arc;

use base::GuestMemory;

use super::{MsiMessage, PciFunction, Slot};
use crate::board::{Interrupts, Line};
use crate::chip::Output;

/// Messages that are interrupts go to FEEx_xxxxh (SDM vol. 3, 11.11.1).
const MESSAGES: u64 = 0xfee;

/// A function's wires.
#[derive(Debug)]
pub struct PciWiring {
    /// Where it is.
    pub slot: Slot,
    /// Guest memory, for a bus master.
    pub memory: Arc<GuestMemory>,
    pub(crate) line: Arc<Line>,
    pub(crate) interrupts: Arc<Interrupts>,
}

impl PciWiring {
    /// Sets the level of the INTA pin. Call it under the lock of what decides on the level.
    pub fn set_pin(&self, asserted: bool) {
        self.line.set(if asserted { Output::High } else { Output::Low });
    }

    /// Sets the pin anew, after the interrupt controllers were reset or restored.
    pub fn resume_pin(&self, asserted: bool) {
        self.line.resume(asserted);
    }

    /// Sends a message-signalled interrupt. One that is addressed elsewhere than to the local APICs is lost.
    pub fn send(&self, message: MsiMessage) {
        if message.address >> 20 == MESSAGES {
            self.interrupts.message(message.address, message.data);
        }
    }
}

/// Makes a function, given its wires.
pub type Plug = Box<dyn FnOnce(PciWiring) -> io::Result<Arc<dyn PciFunction>> + Send>;
