//! The 8254.

use crate::harness::Outcome;
use crate::hw::cpu::{self, rdtsc};
use crate::hw::pic;
use crate::hw::port::{read8, write8};
use crate::hw::time::{self, GATE, PIT_HZ};
use crate::trap;

family!("interrupts":
    pit_periodic, pit_counts_down, pit_latch, pit_read_back, pit_channel2_output, pit_channel2_gate, pit_speaker_bits,
);

/// 20 periods of 1/500 s take 40 ms by the time-stamp counter, within a quarter.
fn pit_periodic() -> Outcome {
    pic::start();
    let vector = pic::BASE;
    trap::handle(vector, |_| pic::acknowledge());
    pic::periodic((PIT_HZ / 500) as u16);
    pic::unmask(1);
    cpu::sti();
    let mut ms = 0;
    let good = time::eventually(|| {
        let come = |count| {
            let wanted = trap::count(vector) + count;
            time::patiently(|| trap::count(vector) >= wanted)
        };
        let first = come(1);
        let start = rdtsc();
        let rest = come(20);
        ms = (rdtsc() - start) / time::ticks_per_ms();
        first && rest && (30..=600).contains(&ms)
    });
    cpu::cli();
    check!(good, "20 periods of 2 ms took {ms} ms, after {} interrupts", trap::count(vector));
    Ok(())
}

/// The count of channel `channel`, latched.
fn latched(channel: u8) -> u16 {
    write8(0x43, channel << 6);
    let low = read8(0x40 + u16::from(channel));
    u16::from(read8(0x40 + u16::from(channel))) << 8 | u16::from(low)
}

/// True if so many counts fit so many ticks of the time-stamp counter, within a quarter.
fn are_counts(counts: u16, ticks: u64) -> bool {
    let want = ticks * PIT_HZ / 1000 / time::ticks_per_ms();
    u64::from(counts).abs_diff(want) < want / 4
}

fn pit_counts_down() -> Outcome {
    pic::periodic(0xffff);
    let mut counts = 0;
    let good = time::eventually(|| {
        let (first, start) = time::pit_sample(0);
        time::wait(5);
        let (second, end) = time::pit_sample(0);
        counts = first.wrapping_sub(second);
        are_counts(counts, end - start)
    });
    check!(good, "{counts} counts in 5 ms, expected 5966");
    Ok(())
}

/// A latched count stays until it is read.
fn pit_latch() -> Outcome {
    pic::periodic(0xffff);
    let (mut held, mut after) = (0, 0);
    let good = time::eventually(|| {
        let start = rdtsc();
        write8(0x43, 0);
        let low = read8(0x40);
        time::wait(5);
        held = u16::from(read8(0x40)) << 8 | u16::from(low);
        let (count, end) = time::pit_sample(0);
        after = count;
        are_counts(held.wrapping_sub(after), end - start)
    });
    check!(good, "latched {held:#x}, 5 ms later {after:#x}");
    Ok(())
}

/// The read-back command: status, then count.
fn pit_read_back() -> Outcome {
    pic::periodic(0x8000);
    time::wait(1);
    write8(0x43, 0xc2);
    let status = read8(0x40);
    // Access low and high, mode 2, binary, and the count is loaded.
    check_eq!(status & 0x7f, 0x34, "status of channel 0");
    let count = u16::from(read8(0x40)) | u16::from(read8(0x40)) << 8;
    check!(count <= 0x8000, "count {count:#x} beyond its start");
    Ok(())
}

/// The output of channel 2 in mode 0 is low until the count is out.
fn pit_channel2_output() -> Outcome {
    let gate = read8(GATE) & !3;
    write8(GATE, gate | 1);
    // 8192 counts are 6.9 ms, in which a busy host does not always let us look.
    let low = time::eventually(|| {
        write8(0x43, 0xb0);
        write8(0x42, 0x00);
        write8(0x42, 0x20);
        read8(GATE) & 0x20 == 0
    });
    check!(low, "the output is high at the start");
    check!(time::patiently(|| read8(GATE) & 0x20 != 0), "the output never rises");
    write8(GATE, gate);
    Ok(())
}

/// With its gate low, channel 2 stands still.
fn pit_channel2_gate() -> Outcome {
    wrong_in_tcg!("(its 8254, rather) counts with the gate low");
    let gate = read8(GATE) & !3;
    write8(GATE, gate);
    write8(0x43, 0xb0);
    write8(0x42, 0x00);
    write8(0x42, 0x10);
    time::wait(8);
    check_eq!(read8(GATE) & 0x20, 0, "output with the gate low after 8 ms of a 3.4 ms count");
    let (first, second) = (latched(2), latched(2));
    check_eq!(first, second, "count with the gate low");
    write8(GATE, gate | 1);
    check!(time::patiently(|| read8(GATE) & 0x20 != 0), "the output never rises with the gate high");
    write8(GATE, gate);
    Ok(())
}

fn pit_speaker_bits() -> Outcome {
    let before = read8(GATE) & 0x0f;
    for bits in [0u8, 1, 0] {
        write8(GATE, before & !3 | bits);
        check_eq!(read8(GATE) & 3, bits, "gate and speaker bits");
    }
    Ok(())
}
