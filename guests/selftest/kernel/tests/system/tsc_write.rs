//! Setting the time-stamp counter: last of all, since it may leave the CPUs' counters apart.

use crate::harness::Outcome;
use crate::hw::cpu::{self, rdtsc};

family!("tsc": write);

/// MSR 10h sets it.
fn write() -> Outcome {
    wrong_in_tcg!("ignores it");
    let target = rdtsc() + (1 << 40);
    cpu::wrmsr(0x10, target);
    let moved = rdtsc();
    cpu::wrmsr(0x10, rdtsc() - (1 << 40));
    check!(moved >= target && moved - target < 1 << 38, "after a write of {target:#x} it is {moved:#x}");
    Ok(())
}
