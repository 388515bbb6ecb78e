//! The local APIC in xAPIC mode: registers, interrupts to self, priorities.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::harness::Outcome;
use crate::hw::lapic::{self, is_set, read, register::*, write};
use crate::hw::{cpu, cpuid, time};
use crate::trap;

family!("interrupts":
    lapic_registers, lapic_self_interrupt, lapic_request_and_service, lapic_task_priority, lapic_cr8, lapic_priority_order,
    lapic_nesting, lapic_software_disable, lapic_illegal_vector, lapic_physical_and_logical,
);

/// ICR: fixed delivery to self.
const SELF: u32 = 1 << 18;

fn open(rounds: u32) {
    cpu::sti();
    for _ in 0..rounds {
        core::hint::spin_loop();
    }
    cpu::cli();
}

fn lapic_registers() -> Outcome {
    need!(APIC);
    check_eq!(lapic::id(), cpuid::leaf(1, 0).ebx >> 24, "ID against CPUID");
    check!((0x10..=0x1f).contains(&(read(VERSION) & 0xff)), "version {:#x}", read(VERSION));
    check!(read(VERSION) >> 16 & 0xff >= 3, "local vector table of version {:#x}", read(VERSION));
    let base = cpu::rdmsr(cpu::msr::APIC_BASE);
    check_eq!(base & 0xffff_ffff_ffff_f000, lapic::PAGE, "base address");
    check_eq!(base & 0x900, 0x900, "enabled, and the bootstrap CPU");
    write(LVT_TIMER, 0x1_00ab);
    check_eq!(read(LVT_TIMER) & 0x1_00ff, 0x1_00ab, "timer's vector table entry");
    write(TPR, 0x50);
    check_eq!(read(TPR), 0x50, "task priority");
    check_eq!(read(PPR) & 0xf0, 0x50, "processor priority");
    Ok(())
}

fn lapic_self_interrupt() -> Outcome {
    trap::handle(0x60, |_| lapic::acknowledge());
    write(ICR, SELF | 0x60);
    open(10);
    check_eq!(trap::count(0x60), 1, "interrupts");
    check_eq!(read(ICR) & 1 << 12, 0, "delivery status");
    Ok(())
}

fn lapic_request_and_service() -> Outcome {
    static IN_HANDLER: AtomicU32 = AtomicU32::new(0);
    trap::handle(0x61, |_| {
        let bits = u32::from(is_set(ISR, 0x61)) | u32::from(is_set(IRR, 0x61)) << 1;
        IN_HANDLER.store(bits | (read(PPR) & 0xf0) << 4, Ordering::Relaxed);
        lapic::acknowledge();
    });
    write(ICR, SELF | 0x61);
    check!(is_set(IRR, 0x61), "IRR bit is clear with IF clear");
    check!(!is_set(ISR, 0x61), "ISR bit is set with IF clear");
    check!(!is_set(TMR, 0x61), "TMR bit is set by an edge");
    open(10);
    check_eq!(IN_HANDLER.load(Ordering::Relaxed), 0x601, "ISR, IRR and PPR in the handler");
    check!(!is_set(ISR, 0x61), "ISR bit is set after the end");
    Ok(())
}

/// A vector whose class is not above the task priority waits.
fn lapic_task_priority() -> Outcome {
    trap::handle(0x62, |_| lapic::acknowledge());
    write(TPR, 0x60);
    write(ICR, SELF | 0x62);
    open(50);
    check_eq!(trap::count(0x62), 0, "interrupts at priority 60");
    write(TPR, 0x5f);
    open(50);
    check_eq!(trap::count(0x62), 1, "interrupts at priority 5f");
    Ok(())
}

/// CR8 is bits 7 to 4 of the task priority.
fn lapic_cr8() -> Outcome {
    cpu::set_cr8(9);
    check_eq!(read(TPR), 0x90, "TPR after CR8 = 9");
    write(TPR, 0x3a);
    check_eq!(cpu::cr8(), 3, "CR8 after TPR = 3a");
    trap::handle(0x63, |_| lapic::acknowledge());
    cpu::set_cr8(6);
    write(ICR, SELF | 0x63);
    // Lowered with IF set, it lets the interrupt in.
    let got = exec!("sti; nop; mov cr8, rcx; nop; nop; cli", 0, 5, 0, 0);
    check_eq!(got.rcx, 5, "RCX");
    check_eq!(trap::count(0x63), 1, "interrupts after CR8 = 5");
    Ok(())
}

/// The highest vector first, whatever the order of sending.
fn lapic_priority_order() -> Outcome {
    static ORDER: AtomicU32 = AtomicU32::new(0);
    ORDER.store(0, Ordering::Relaxed);
    for vector in [0x41, 0x72, 0x5f] {
        trap::handle(vector, |frame| {
            ORDER.store(ORDER.load(Ordering::Relaxed) << 8 | frame.vector as u32, Ordering::Relaxed);
            lapic::acknowledge();
        });
        write(ICR, SELF | u32::from(vector));
    }
    open(50);
    check_eq!(ORDER.load(Ordering::Relaxed), 0x72_5f41, "order");
    Ok(())
}

/// A handler that lets interrupts in is interrupted by a higher class only.
fn lapic_nesting() -> Outcome {
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    DEPTH.store(0, Ordering::Relaxed);
    // Each on its own stack: interrupt stacks do not nest.
    for (vector, ist) in [(0x80u8, 5u64), (0x84, 1), (0xa0, 6)] {
        let mut gate = trap::gate(vector);
        gate.0 = gate.0 & !(7 << 32) | ist << 32;
        trap::set_gate(vector, gate);
    }
    trap::handle(0xa0, |_| {
        DEPTH.fetch_or(1, Ordering::Relaxed);
        lapic::acknowledge();
    });
    trap::handle(0x84, |_| {
        DEPTH.fetch_or(2, Ordering::Relaxed);
        lapic::acknowledge();
    });
    trap::handle(0x80, |_| {
        write(ICR, SELF | 0xa0);
        write(ICR, SELF | 0x84);
        cpu::sti();
        time::patiently(|| trap::count(0xa0) != 0);
        cpu::cli();
        DEPTH.fetch_or(DEPTH.load(Ordering::Relaxed) << 8, Ordering::Relaxed);
        lapic::acknowledge();
    });
    write(ICR, SELF | 0x80);
    open(50);
    check_eq!(DEPTH.load(Ordering::Relaxed), 0x103, "taken at the end, and before that inside the handler");
    Ok(())
}

/// Switched off by software, it takes no fixed interrupts and masks its local vector table.
fn lapic_software_disable() -> Outcome {
    wrong_in_tcg!("(its APIC, rather) leaves the mask bits alone");
    write(LVT_TIMER, 0x65);
    write(SVR, u32::from(lapic::SPURIOUS));
    check_eq!(read(LVT_TIMER) & lapic::MASKED, lapic::MASKED, "mask of the timer");
    write(LVT_TIMER, 0x65);
    check_eq!(
        read(LVT_TIMER) & lapic::MASKED,
        lapic::MASKED,
        "mask of the timer after an attempt to clear it"
    );
    Ok(())
}

/// Vectors below 16 cannot be sent: the error status says so once it was written.
fn lapic_illegal_vector() -> Outcome {
    write(ESR, 0);
    write(ESR, 0);
    check_eq!(read(ESR), 0, "errors before");
    wrong_in_tcg!("sends illegal vectors");
    write(ICR, SELF | 5);
    write(ESR, 0);
    check!(read(ESR) & 0x60 != 0, "errors after: {:#x}", read(ESR));
    Ok(())
}

/// To self by ID, by logical destination, and to nobody.
fn lapic_physical_and_logical() -> Outcome {
    trap::handle(0x66, |_| lapic::acknowledge());
    lapic::send(lapic::id(), 0x66);
    open(50);
    check_eq!(trap::count(0x66), 1, "interrupts by physical destination");
    write(DFR, u32::MAX);
    write(LDR, 4 << 24);
    lapic::send(4, 0x866);
    open(50);
    check_eq!(trap::count(0x66), 2, "interrupts by logical destination");
    lapic::send(8, 0x866);
    open(50);
    check_eq!(trap::count(0x66), 2, "interrupts by another logical destination");
    Ok(())
}
