//! The board: chips in their seats, buses, interrupts and time put together.
//!
//! Chips are pure ([`crate::chip`]). A [`Seat`] gives a chip its lock and carries its outputs on;
//! [`Interrupts`] routes; the [`AlarmClock`] wakes; the [`Mainboard`] owns them all and its [`CpuPort`]s are
//! what engines see.
//!
//! **Lock order**, outermost first: a chip's seat → a serial port's queue; a chip's seat → the interrupt
//! controllers → one local APIC → an `Attention` or the alarm clock's bell. The buses have no lock; the
//! PCI bus reads its table of windows and lets go of it before it calls a function.

mod alarm;
mod control;
mod hotplug;
mod interrupts;
mod line;
mod mainboard;
mod misc;
mod port;
mod registers;
mod seat;
mod serial;

pub use control::Control;
pub use interrupts::Interrupts;
pub use line::Line;
pub use mainboard::{BoardState, COM_IRQS, COM_PORTS, Equipment, Mainboard, Sink};
pub use misc::PANIC_PORT;
pub use port::CpuPort;
pub use seat::{At, Seat, Wiring};
pub use serial::ConsoleInput;

pub(crate) use seat::lock;
