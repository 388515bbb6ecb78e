//! Start-up, and what each CPU has for itself.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::acpi;
use crate::harness::Outcome;
use crate::hw::gdt::CPUS;
use crate::hw::{cpu, cpuid, lapic};
use crate::smp;

family!("smp": start, initial_state, own_registers, own_apic_id, restart);

static FOUND: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// Every CPU of the MADT comes up, each once.
fn start() -> Outcome {
    let count = smp::online()?;
    let Some(acpi) = acpi() else { absent!("no MADT") };
    for &id in acpi.cpus().iter().take(count) {
        let seen = (0..count).filter(|&cpu| smp::apic_id(cpu) == id).count();
        check_eq!(seen, 1, "CPUs with APIC ID {id}");
    }
    Ok(())
}

/// Another CPU is no bootstrap processor; its interrupts are off in a call.
fn initial_state() -> Outcome {
    smp::online()?;
    smp::begin(1, |cpu| {
        FOUND[cpu].store(cpu::rdmsr(cpu::msr::APIC_BASE), Ordering::Relaxed);
    });
    smp::end(1)?;
    check_eq!(FOUND[1].load(Ordering::Relaxed) & 0x900, 0x800, "APIC base: enabled, not the bootstrap CPU");
    check_eq!(cpu::rdmsr(cpu::msr::APIC_BASE) & 0x900, 0x900, "APIC base of the bootstrap CPU");
    Ok(())
}

/// Debug registers, MSRs and CR8 belong to a CPU.
fn own_registers() -> Outcome {
    smp::online()?;
    cpu::wrmsr(cpu::msr::KERNEL_GS_BASE, 0x1111);
    cpu::set_cr8(3);
    smp::begin(1, |cpu| {
        cpu::wrmsr(cpu::msr::KERNEL_GS_BASE, 0x2222);
        FOUND[cpu].store(cpu::cr8() << 32, Ordering::Relaxed);
        cpu::set_cr8(0);
    });
    smp::end(1)?;
    check_eq!(cpu::rdmsr(cpu::msr::KERNEL_GS_BASE), 0x1111, "MSR of CPU 0");
    check_eq!(FOUND[1].load(Ordering::Relaxed) >> 32, 0, "CR8 of CPU 1");
    check_eq!(cpu::cr8(), 3, "CR8 of CPU 0");
    Ok(())
}

/// CPUID and the APIC agree on every CPU.
fn own_apic_id() -> Outcome {
    static BAD: AtomicU32 = AtomicU32::new(0);
    BAD.store(0, Ordering::Relaxed);
    smp::all(|_| {
        if cpuid::leaf(1, 0).ebx >> 24 != lapic::id() {
            BAD.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    check_eq!(BAD.load(Ordering::Relaxed), 0, "CPUs whose CPUID names another APIC ID");
    Ok(())
}

/// INIT stops a CPU; a start-up interrupt starts it afresh.
fn restart() -> Outcome {
    smp::online()?;
    smp::restart(1)?;
    FOUND[1].store(0, Ordering::Relaxed);
    smp::begin(1, |cpu| FOUND[cpu].store(7, Ordering::Relaxed));
    smp::end(1)?;
    check_eq!(FOUND[1].load(Ordering::Relaxed), 7, "call after the restart");
    Ok(())
}
