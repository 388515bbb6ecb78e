//! The local APIC's timer.

use crate::harness::Outcome;
use crate::hw::cpu::{self, msr, rdtsc};
use crate::hw::lapic::{self, read, register::*, write};
use crate::hw::time;
use crate::trap;

family!("interrupts":
    timer_one_shot, timer_periodic, timer_counts, timer_divider, timer_masked, timer_stopped, timer_deadline,
    timer_deadline_past, timer_deadline_cancelled,
);

const VECTOR: u8 = 0x50;
const PERIODIC: u32 = 1 << 17;
const DEADLINE: u32 = 2 << 17;

fn handle() {
    trap::handle(VECTOR, |_| lapic::acknowledge());
    write(DIVIDE, 0b1011); // by 1
}

/// Counts that take about a millisecond.
fn counts_per_ms() -> u32 {
    write(LVT_TIMER, lapic::MASKED | u32::from(VECTOR));
    let mut per_ms = 0;
    time::eventually(|| {
        let before = rdtsc();
        write(INITIAL_COUNT, u32::MAX);
        let start = rdtsc();
        time::wait(2);
        let end = rdtsc();
        let counts = u64::from(u32::MAX - read(CURRENT_COUNT));
        let after = rdtsc();
        per_ms = (counts * time::ticks_per_ms() / (end - start).max(1)).max(1) as u32;
        // Both accesses took a moment only.
        (start - before) + (after - end) < (end - start) / 8
    });
    write(INITIAL_COUNT, 0);
    per_ms
}

/// Undoes what `arm` did, and then watches for a while whether the interrupt comes all the same; how often it did. `arm` is
/// to make it come in 50 ms; where a busy host has let 40 ms of them pass, this begins anew.
fn undone(mut arm: impl FnMut(), mut undo: impl FnMut()) -> u32 {
    cpu::sti();
    let in_time = time::eventually(|| {
        time::wait(2);
        handle();
        let start = rdtsc();
        arm();
        undo();
        rdtsc() - start < 40 * time::ticks_per_ms()
    });
    time::wait(60);
    cpu::cli();
    if in_time { trap::count(VECTOR) } else { 0 }
}

fn timer_one_shot() -> Outcome {
    handle();
    let ms = counts_per_ms();
    write(LVT_TIMER, VECTOR.into());
    write(INITIAL_COUNT, ms);
    cpu::sti();
    let came = time::patiently(|| trap::count(VECTOR) > 0);
    time::wait(3);
    cpu::cli();
    check!(came, "no interrupt, expected one in 1 ms");
    check_eq!(trap::count(VECTOR), 1, "interrupts");
    check_eq!(read(CURRENT_COUNT), 0, "count after the end");
    Ok(())
}

fn timer_periodic() -> Outcome {
    handle();
    let mut elapsed = 0;
    let good = time::eventually(|| {
        let ms = counts_per_ms();
        write(LVT_TIMER, PERIODIC | u32::from(VECTOR));
        let wanted = trap::count(VECTOR) + 10;
        write(INITIAL_COUNT, ms * 2);
        let start = rdtsc();
        cpu::sti();
        let came = time::patiently(|| trap::count(VECTOR) >= wanted);
        elapsed = (rdtsc() - start) / time::ticks_per_ms();
        cpu::cli();
        came && (14..=600).contains(&elapsed)
    });
    check!(good, "10 periods of 2 ms took {elapsed} ms, after {} interrupts", trap::count(VECTOR));
    Ok(())
}

fn timer_counts() -> Outcome {
    handle();
    write(LVT_TIMER, lapic::MASKED);
    write(INITIAL_COUNT, u32::MAX);
    let first = read(CURRENT_COUNT);
    time::wait(1);
    let second = read(CURRENT_COUNT);
    check!(second < first, "count went from {first:#x} to {second:#x}");
    check_eq!(read(INITIAL_COUNT), u32::MAX, "initial count");
    Ok(())
}

/// Divided by 16 it counts a sixteenth as fast (within a factor of two).
fn timer_divider() -> Outcome {
    handle();
    let mut ratio = 0;
    let good = time::eventually(|| {
        write(DIVIDE, 0b1011);
        let by_one = counts_per_ms();
        write(DIVIDE, 0b0011);
        let by_sixteen = counts_per_ms();
        ratio = by_one / by_sixteen;
        read(DIVIDE) & 0xb == 3 && (8..=32).contains(&ratio)
    });
    check!(good, "divided by 16 it is {ratio} times as slow");
    Ok(())
}

fn timer_masked() -> Outcome {
    handle();
    let ms = counts_per_ms();
    write(LVT_TIMER, lapic::MASKED | u32::from(VECTOR));
    write(INITIAL_COUNT, ms);
    cpu::sti();
    time::wait(4);
    cpu::cli();
    check_eq!(trap::count(VECTOR), 0, "interrupts while masked");
    Ok(())
}

/// An initial count of zero stops it.
fn timer_stopped() -> Outcome {
    handle();
    let ms = counts_per_ms();
    write(LVT_TIMER, PERIODIC | u32::from(VECTOR));
    let count = undone(|| write(INITIAL_COUNT, ms.saturating_mul(50)), || write(INITIAL_COUNT, 0));
    check_eq!(count, 0, "interrupts after a stop");
    check_eq!(read(CURRENT_COUNT), 0, "count after a stop");
    Ok(())
}

fn timer_deadline() -> Outcome {
    need!(TSC_DEADLINE);
    handle();
    write(LVT_TIMER, DEADLINE | u32::from(VECTOR));
    let start = rdtsc();
    let deadline = start + 5 * time::ticks_per_ms();
    cpu::wrmsr(msr::TSC_DEADLINE, deadline);
    let back = cpu::rdmsr(msr::TSC_DEADLINE);
    if back == 0 {
        // A host with other things to do may have let it pass.
        check!(rdtsc() >= deadline, "the deadline is gone and has not passed");
    } else {
        check_eq!(back, deadline, "deadline read back");
    }
    cpu::sti();
    let came = time::patiently(|| trap::count(VECTOR) > 0);
    let end = rdtsc();
    cpu::cli();
    check!(came, "no interrupt, expected one in 5 ms");
    check!(end >= deadline, "it came {} ticks early", deadline - end);
    check_eq!(cpu::rdmsr(msr::TSC_DEADLINE), 0, "deadline after it passed");
    Ok(())
}

/// A deadline that has passed fires at once.
fn timer_deadline_past() -> Outcome {
    need!(TSC_DEADLINE);
    handle();
    write(LVT_TIMER, DEADLINE | u32::from(VECTOR));
    cpu::wrmsr(msr::TSC_DEADLINE, 1);
    cpu::sti();
    let came = time::patiently(|| trap::count(VECTOR) > 0);
    cpu::cli();
    check!(came, "no interrupt for a deadline in the past");
    Ok(())
}

/// A deadline of zero disarms; so does leaving the mode.
fn timer_deadline_cancelled() -> Outcome {
    need!(TSC_DEADLINE);
    handle();
    write(LVT_TIMER, DEADLINE | u32::from(VECTOR));
    let deadline = |ms| cpu::wrmsr(msr::TSC_DEADLINE, rdtsc() + ms * time::ticks_per_ms());
    let count = undone(|| deadline(50), || cpu::wrmsr(msr::TSC_DEADLINE, 0));
    check_eq!(count, 0, "interrupts after a cancellation");
    write(LVT_TIMER, VECTOR.into());
    cpu::wrmsr(msr::TSC_DEADLINE, 1);
    check_eq!(cpu::rdmsr(msr::TSC_DEADLINE), 0, "deadline written in another mode");
    Ok(())
}
