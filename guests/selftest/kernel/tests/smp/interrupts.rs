//! Interrupts between CPUs.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::harness::Outcome;
use crate::hw::{cpu, lapic, time};
use crate::smp;
use crate::trap::{self, vector::NMI};

family!("smp": ping_pong, broadcast, broadcast_and_self, nmi_to_another, lowest_priority, many_interrupts);

const ROUNDS: u32 = 30;

/// Rounds of a request by interrupt and an answer by interrupt.
fn ping_pong() -> Outcome {
    let count = smp::online()?;
    trap::handle(0x90, |_| {
        lapic::acknowledge();
        lapic::send(smp::apic_id(0), 0x91);
    });
    trap::handle(0x91, |_| lapic::acknowledge());
    for target in 1..count {
        for round in 1..=ROUNDS {
            let before = trap::count(0x91);
            lapic::send(smp::apic_id(target), 0x90);
            cpu::sti();
            let answered = time::patiently(|| trap::count(0x91) != before);
            cpu::cli();
            check!(answered, "CPU {target} does not answer in round {round}");
        }
    }
    check_eq!(trap::count(0x91), ROUNDS * (count as u32 - 1), "answers");
    Ok(())
}

fn broadcast() -> Outcome {
    let count = smp::online()? as u32;
    trap::handle(0x92, |_| lapic::acknowledge());
    // All excluding self.
    lapic::send(0, 3 << 18 | 0x92);
    check!(
        time::patiently(|| trap::count(0x92) >= count - 1),
        "{} of {} came",
        trap::count(0x92),
        count - 1
    );
    cpu::sti();
    time::wait(2);
    cpu::cli();
    check_eq!(trap::count(0x92), count - 1, "interrupts");
    Ok(())
}

fn broadcast_and_self() -> Outcome {
    let count = smp::online()? as u32;
    trap::handle(0x93, |_| lapic::acknowledge());
    lapic::send(0, 2 << 18 | 0x93);
    cpu::sti();
    let came = time::patiently(|| trap::count(0x93) >= count);
    time::wait(2);
    cpu::cli();
    check!(came, "{} of {count} came", trap::count(0x93));
    check_eq!(trap::count(0x93), count, "interrupts");
    Ok(())
}

/// An NMI reaches a CPU that has interrupts off.
fn nmi_to_another() -> Outcome {
    static WAITING: AtomicU32 = AtomicU32::new(0);
    WAITING.store(0, Ordering::Relaxed);
    smp::online()?;
    trap::handle(NMI, |_| {});
    smp::begin(1, |_| {
        WAITING.store(1, Ordering::Release);
        time::patiently(|| trap::count(NMI) != 0);
    });
    check!(time::patiently(|| WAITING.load(Ordering::Acquire) == 1), "CPU 1 does not begin");
    lapic::send(smp::apic_id(1), 4 << 8);
    smp::end(1)?;
    check_eq!(trap::count(NMI), 1, "NMIs");
    Ok(())
}

/// Lowest priority goes to one CPU of those addressed.
fn lowest_priority() -> Outcome {
    let count = smp::online()?;
    // Flat logical IDs: one bit a CPU.
    smp::all(|cpu| {
        lapic::write(lapic::register::DFR, u32::MAX);
        lapic::write(lapic::register::LDR, 1 << (24 + (cpu & 7)));
    })?;
    trap::handle(0x94, |_| lapic::acknowledge());
    let everyone = (1u32 << count.min(8)) - 1;
    lapic::send(everyone, 0x994);
    cpu::sti();
    let came = time::patiently(|| trap::count(0x94) != 0);
    time::wait(5);
    cpu::cli();
    check!(came, "nobody took it");
    check_eq!(trap::count(0x94), 1, "CPUs that took it");
    Ok(())
}

/// A CPU kept busy with interrupts from all others loses no last one.
fn many_interrupts() -> Outcome {
    static LEFT: AtomicU32 = AtomicU32::new(0);
    let count = smp::online()? as u32;
    LEFT.store(count - 1, Ordering::Relaxed);
    trap::handle(0x95, |_| lapic::acknowledge());
    for cpu in 1..count as usize {
        smp::begin(cpu, |_| {
            for _ in 0..200 {
                lapic::send(smp::apic_id(0), 0x95);
            }
            LEFT.fetch_sub(1, Ordering::Release);
        });
    }
    cpu::sti();
    let done = time::patiently(|| LEFT.load(Ordering::Acquire) == 0);
    time::wait(1);
    cpu::cli();
    for cpu in 1..count as usize {
        smp::end(cpu)?;
    }
    check!(done, "{} CPUs are not done", LEFT.load(Ordering::Relaxed));
    // Those that arrive while one is pending merge with it.
    check!((1..=200 * (count - 1)).contains(&trap::count(0x95)), "{} interrupts", trap::count(0x95));
    check!(!lapic::is_set(lapic::register::IRR, 0x95), "one is still pending");
    Ok(())
}
