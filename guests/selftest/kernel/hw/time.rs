//! Waiting: the time-stamp counter, measured once against channel 2 of the 8254.

use core::sync::atomic::{AtomicU64, Ordering};

use super::cpu::rdtsc;
use super::port::{read8, write8};

/// The 8254's input clock in Hz.
pub const PIT_HZ: u64 = 1_193_182;

/// NMI status and control: bit 0 gates channel 2, bit 1 the speaker, bit 5 reads its output.
pub const GATE: u16 = 0x61;

static TICKS_PER_MS: AtomicU64 = AtomicU64::new(1_000_000);

/// Measures the counter; false if the 8254 did not count to the end.
///
/// The least of five measurements of 10 ms: a busy host can only make one longer.
pub fn calibrate() -> bool {
    let mut least = None;
    for _ in 0..5 {
        let before = rdtsc();
        if !pit_delay((PIT_HZ / 100) as u16) {
            return false;
        }
        let ticks = rdtsc().wrapping_sub(before);
        least = Some(least.map_or(ticks, |least: u64| least.min(ticks)));
    }
    if let Some(ticks @ 100..) = least {
        TICKS_PER_MS.store(ticks / 10, Ordering::Relaxed);
    }
    true
}

/// Runs channel 2 down from `count` in mode 0; false if its output never rose.
pub fn pit_delay(count: u16) -> bool {
    let gate = read8(GATE) & !3;
    write8(GATE, gate);
    write8(0x43, 0xb0);
    write8(0x42, count as u8);
    write8(0x42, (count >> 8) as u8);
    write8(GATE, gate | 1);
    let done = (0..20_000_000).any(|_| read8(GATE) & 0x20 != 0);
    write8(GATE, gate);
    done
}

/// Time-stamp counter ticks in a millisecond.
pub fn ticks_per_ms() -> u64 {
    TICKS_PER_MS.load(Ordering::Relaxed)
}

/// Spins until `condition` holds; false if it does not within `ms` milliseconds.
pub fn wait_until(ms: u64, mut condition: impl FnMut() -> bool) -> bool {
    let start = rdtsc();
    // The second bound ends the wait on a machine whose counter stands still.
    for _ in 0..2_000_000_000u64 {
        if condition() {
            return true;
        }
        if rdtsc().wrapping_sub(start) > ms * ticks_per_ms() {
            return condition();
        }
        core::hint::spin_loop();
    }
    false
}

/// True if `attempt` succeeds once in five times.
///
/// A measurement on a host that also does other things may be off, but not every time.
pub fn eventually(attempt: impl FnMut() -> bool) -> bool {
    let mut attempt = attempt;
    (0..5).any(|_| attempt())
}

/// Spins for `ms` milliseconds.
pub fn wait(ms: u64) {
    wait_until(ms, || false);
}
