//! The hardware, in as few words as the tests need.

#[macro_use]
pub mod serial;
pub mod acpi;
pub mod cpu;
pub mod cpuid;
pub mod exit;
pub mod gdt;
pub mod ioapic;
pub mod lapic;
pub mod pages;
pub mod pic;
pub mod port;
pub mod rtc;
pub mod time;
