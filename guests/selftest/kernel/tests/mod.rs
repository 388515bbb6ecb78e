//! The tests, family by family, in the order in which they build on each other.

use crate::harness::Test;

#[macro_use]
mod exec;
#[macro_use]
mod snippet;
mod exceptions;
mod fpu;
pub mod hostile;
mod integer;
mod interrupts;
mod memory;
mod modes;
mod paging;
mod privilege;
mod smp;
mod system;
mod user;

/// All tests.
pub const FAMILIES: &[&[Test]] = &[
    system::boot::TESTS,
    system::cpuid::TESTS,
    integer::alu::TESTS,
    integer::shift::TESTS,
    integer::rotate::TESTS,
    integer::multiply::TESTS,
    integer::bits::TESTS,
    integer::moves::TESTS,
    integer::flags::TESTS,
    integer::control::TESTS,
    integer::stack::TESTS,
    integer::exchange::TESTS,
    integer::strings::TESTS,
    fpu::x87::TESTS,
    fpu::mmx::TESTS,
    fpu::sse::TESTS,
    fpu::vectors::TESTS,
    fpu::crypto::TESTS,
    fpu::fxsave::TESTS,
    fpu::availability::TESTS,
    fpu::exceptions::TESTS,
    fpu::xsave::TESTS,
    fpu::avx::TESTS,
    exceptions::faults::TESTS,
    exceptions::delivery::TESTS,
    exceptions::step::TESTS,
    exceptions::breakpoints::TESTS,
    exceptions::shadows::TESTS,
    paging::mapping::TESTS,
    paging::errors::TESTS,
    paging::bits::TESTS,
    paging::crossing::TESTS,
    paging::invalidation::TESTS,
    paging::user::TESTS,
    system::msr::TESTS,
    system::smc::TESTS,
    privilege::ring3::TESTS,
    privilege::io::TESTS,
    privilege::iret::TESTS,
    privilege::far::TESTS,
    privilege::call_gate::TESTS,
    privilege::segments::TESTS,
    privilege::bases::TESTS,
    privilege::syscall::TESTS,
    privilege::sysenter::TESTS,
    modes::compat::TESTS,
    modes::protected::TESTS,
    modes::segments32::TESTS,
    modes::gates32::TESTS,
    modes::rings32::TESTS,
    modes::paging32::TESTS,
    modes::pae::TESTS,
    modes::protected16::TESTS,
    modes::real::TESTS,
    system::tsc::TESTS,
    interrupts::pic::TESTS,
    interrupts::pit::TESTS,
    interrupts::pm_timer::TESTS,
    interrupts::rtc::TESTS,
    interrupts::serial::TESTS,
    interrupts::lapic::TESTS,
    interrupts::lapic_timer::TESTS,
    interrupts::ioapic::TESTS,
    interrupts::nmi::TESTS,
    interrupts::hlt::TESTS,
    smp::start::TESTS,
    smp::atomics::TESTS,
    smp::interrupts::TESTS,
    smp::ordering::TESTS,
    smp::translation::TESTS,
    interrupts::x2apic::TESTS,
    system::tsc_write::TESTS,
];
