//! The local APIC in x2APIC mode.

use crate::harness::Outcome;
use crate::hw::cpu::{self, msr};
use crate::hw::lapic::{self, register::*};
use crate::hw::{cpuid, time};
use crate::trap;

family!("interrupts": x2apic_registers, x2apic_self_interrupt, x2apic_timer, x2apic_faults, x2apic_transitions);

fn x2apic_registers() -> Outcome {
    need!(X2APIC);
    expect!(GP(0), cpu::rdmsr(0x802));
    lapic::enter_x2apic();
    check_eq!(lapic::read(ID), cpuid::leaf(0xb, 0).edx, "ID against CPUID leaf B");
    check_eq!(lapic::read(LDR), (lapic::read(ID) >> 4) << 16 | 1 << (lapic::read(ID) & 15), "logical ID");
    lapic::write(TPR, 0x40);
    check_eq!(cpu::cr8(), 4, "CR8");
    check_eq!(lapic::read(SVR) & 0x1ff, 0x1ff, "spurious vector register kept");
    Ok(())
}

fn x2apic_self_interrupt() -> Outcome {
    need!(X2APIC);
    lapic::enter_x2apic();
    trap::handle(0x60, |_| lapic::acknowledge());
    lapic::write(SELF_IPI, 0x60);
    exec!("sti; nop; nop; nop; cli", 0, 0, 0, 0);
    check_eq!(trap::count(0x60), 1, "interrupts by the self-IPI register");
    lapic::send(lapic::id(), 0x60);
    exec!("sti; nop; nop; nop; cli", 0, 0, 0, 0);
    check_eq!(trap::count(0x60), 2, "interrupts by ICR");
    Ok(())
}

fn x2apic_timer() -> Outcome {
    need!(X2APIC);
    lapic::enter_x2apic();
    trap::handle(0x61, |_| lapic::acknowledge());
    lapic::write(DIVIDE, 0b1011);
    lapic::write(LVT_TIMER, 0x61);
    lapic::write(INITIAL_COUNT, 100_000);
    cpu::sti();
    let came = time::patiently(|| trap::count(0x61) > 0);
    cpu::cli();
    check!(came, "no interrupt by the timer");
    Ok(())
}

fn x2apic_faults() -> Outcome {
    need!(X2APIC);
    lapic::enter_x2apic();
    // DFR is gone, ID cannot be written, EOI cannot be read, upper halves are reserved.
    expect!(GP(0), cpu::rdmsr(0x80e));
    expect!(GP(0), cpu::wrmsr(0x802, 0));
    expect!(GP(0), cpu::rdmsr(0x80b));
    expect!(GP(0), cpu::wrmsr(0x80b, 1));
    expect!(GP(0), cpu::wrmsr(0x808, 1 << 32));
    expect!(GP(0), cpu::wrmsr(0x808, 0x100));
    expect!(GP(0), cpu::rdmsr(0x831));
    Ok(())
}

/// Straight back to xAPIC is refused.
fn x2apic_transitions() -> Outcome {
    need!(X2APIC);
    lapic::enter_x2apic();
    let base = cpu::rdmsr(msr::APIC_BASE);
    expect!(GP(0), cpu::wrmsr(msr::APIC_BASE, base & !(1 << 10)));
    expect!(GP(0), cpu::wrmsr(msr::APIC_BASE, base & !(1 << 11)));
    lapic::start();
    check!(!lapic::is_x2apic(), "still in x2APIC mode");
    check_eq!(lapic::id(), cpuid::leaf(1, 0).ebx >> 24, "ID back in xAPIC mode");
    Ok(())
}
