//! The chips, each a pure file: no thread, no lock, no clock of the host.
//!
//! Time comes in as `now`, virtual nanoseconds that never run backwards; the next moment at which a chip
//! acts by itself goes out as [`Chip::deadline`]; its interrupt output goes out as [`Chip::output`]; what
//! it asks of the whole machine as [`Chip::request`]. The glue in [`crate::board`] does the rest.

mod counter;
mod debug;
mod hotplug;
mod i8042;
mod ioapic;
mod lapic;
mod pic;
mod pit;
mod pm;
mod rtc;
mod rtc_calendar;
mod system_control;
mod uart;

pub use debug::DebugConsole;
pub use hotplug::{HOTPLUG_BASE, HOTPLUG_EVENT, HOTPLUG_LENGTH, Hotplug};
pub use i8042::I8042;
pub use ioapic::{IoApic, Message, PINS};
pub use lapic::{Arrival, Delivery, Destination, Effect, Ipi, LocalApic, Shorthand, VectorSet};
pub use pic::PicPair;
pub use pit::Pit;
pub use pm::{PM_BASE, PM_LENGTH, PowerManagement, S5};
pub use rtc::{CENTURY, MemorySizes, Rtc};
pub use system_control::SystemControl;
pub use uart::{OUTPUT_CAPACITY, Uart};

/// The level of an interrupt output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Not asserted.
    Low,
    /// Asserted.
    High,
    /// It fell and rose again since it was last looked at, and is to be taken as asserted now.
    Pulse,
}

impl From<bool> for Output {
    fn from(asserted: bool) -> Self {
        if asserted { Self::High } else { Self::Low }
    }
}

/// What a chip asks of the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Switch off.
    PowerOff,
    /// Reset all.
    Reset,
    /// Leave with this exit code.
    DebugExit(u32),
    /// The guest says that it has crashed.
    GuestPanic,
}

/// A chip with byte-wide registers and at most one interrupt output.
pub trait Chip: Send {
    /// A register is read. `offset` counts from the chip's first port.
    fn read(&mut self, offset: u16, now: u64) -> u8;

    /// A register is written.
    fn write(&mut self, offset: u16, value: u8, now: u64);

    /// Lets the chip catch up with the time. Called before every access and when the deadline has come.
    fn advance(&mut self, _now: u64) {}

    /// When the chip next acts by itself.
    fn deadline(&self) -> Option<u64> {
        None
    }

    /// The interrupt output after what was just done.
    fn output(&mut self) -> Output {
        Output::Low
    }

    /// What the chip asks of the machine, once.
    fn request(&mut self) -> Option<Request> {
        None
    }
}

/// Refuses a state that cannot be.
pub(crate) fn ensure<C: base::Saved>(holds: bool, invariant: &str) -> Result<(), base::RestoreError> {
    if holds {
        Ok(())
    } else {
        Err(base::RestoreError::Invalid { kind: C::KIND, reason: invariant.to_owned() })
    }
}
