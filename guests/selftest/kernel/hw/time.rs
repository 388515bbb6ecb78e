//! Waiting: the time-stamp counter, measured once against channel 2 of the 8254.

use core::sync::atomic::{AtomicU64, Ordering};

use super::cpu::rdtsc;
use super::port::{read8, write8};

/// The 8254's input clock in Hz.
pub const PIT_HZ: u64 = 1_193_182;

/// NMI status and control: bit 0 gates channel 2, bit 1 the speaker, bit 5 reads its output.
pub const GATE: u16 = 0x61;

static TICKS_PER_MS: AtomicU64 = AtomicU64::new(1_000_000);

/// How often a measurement is repeated that others on the host may have spoilt.
const TRIES: u32 = 50;

/// Measures the counter until three measurements agree; false if the 8254 does not count.
pub fn calibrate() -> bool {
    let (mut least, mut agree) = (u64::MAX, 0);
    for _ in 0..TRIES {
        start_channel2(0xffff, 0xb0);
        let (first, start) = pit_sample(2);
        // About 10 ms, whatever the unit.
        let done = (0..1_000_000).any(|_| first.wrapping_sub(pit_sample(2).0) > (PIT_HZ / 100) as u16);
        let (second, end) = pit_sample(2);
        let counts = u64::from(first.wrapping_sub(second));
        if !done || counts == 0 {
            return false;
        }
        // On a busy host a span may be over 55 ms; its count has wrapped, and it looks too fast.
        let ticks = (end - start) * PIT_HZ / 1000 / counts;
        // The least is right; one that is much less shows that those before were spoilt.
        agree = match ticks {
            _ if ticks < least - least / 16 => 1,
            _ if ticks <= least.saturating_add(least / 16) => agree + 1,
            _ => agree,
        };
        least = least.min(ticks);
        if agree == 3 {
            break;
        }
    }
    TICKS_PER_MS.store(least.max(100), Ordering::Relaxed);
    true
}

/// Loads channel 2 with its gate high: `control` is the control word.
fn start_channel2(count: u16, control: u8) {
    let gate = read8(GATE) & !3;
    write8(GATE, gate | 1);
    write8(0x43, control);
    write8(0x42, count as u8);
    write8(0x42, (count >> 8) as u8);
}

/// The count of a channel and the time stamp at which it was that.
///
/// Of several readings the one that took the least time: the host may well take the CPU away
/// between the two halves of one, but hardly of all.
pub fn pit_sample(channel: u8) -> (u16, u64) {
    let mut best = (0, 0, u64::MAX);
    for _ in 0..8 {
        let before = rdtsc();
        write8(0x43, channel << 6);
        let stamp = rdtsc();
        let low = read8(0x40 + u16::from(channel));
        let count = u16::from(read8(0x40 + u16::from(channel))) << 8 | u16::from(low);
        if stamp - before < best.2 {
            best = (count, stamp, stamp - before);
        }
    }
    (best.0, best.1)
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

/// Spins until `condition` holds, which it must; false if it does not within a minute.
///
/// Another CPU, a timer or a device may have to wait for its turn on the host, and that for seconds.
pub fn patiently(condition: impl FnMut() -> bool) -> bool {
    wait_until(60_000, condition)
}

/// True if `attempt` succeeds once in many times.
///
/// A measurement on a host that also does other things may be off, but not every time.
pub fn eventually(mut attempt: impl FnMut() -> bool) -> bool {
    (0..TRIES).any(|_| attempt())
}

/// Spins for `ms` milliseconds.
pub fn wait(ms: u64) {
    wait_until(ms, || false);
}
