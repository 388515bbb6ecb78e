//! Interrupt controllers, timers and the devices that every PC has.

pub mod hlt;
pub mod ioapic;
pub mod lapic;
pub mod lapic_timer;
pub mod nmi;
pub mod pic;
pub mod pit;
pub mod pm_timer;
pub mod rtc;
pub mod serial;
pub mod x2apic;
