//! The real-time clock.

use super::pic::take;
use crate::harness::Outcome;
use crate::hw::{cpu, pic, rtc, time};
use crate::trap;

family!("interrupts": rtc_time, rtc_seconds, rtc_periodic, rtc_memory);

/// A field in binary, whichever the clock keeps.
fn field(index: u8) -> u8 {
    let value = rtc::read(index);
    if rtc::read(rtc::B) & 4 != 0 { value } else { (value >> 4) * 10 + (value & 15) }
}

fn rtc_time() -> Outcome {
    check_eq!(rtc::read(rtc::D) & 0x80, 0x80, "valid bit of register D");
    check!(time::patiently(|| rtc::read(rtc::A) & 0x80 == 0), "an update without an end");
    let (second, minute, hour) = (field(0), field(2), rtc::read(4) & 0x7f);
    let (day, month, year) = (field(7), field(8), field(9));
    check!(second < 60 && minute < 60, "{minute} minutes, {second} seconds");
    check!((rtc::read(rtc::B) & 4 != 0 && hour < 24) || (hour & 15) < 10, "hour {hour:#x}");
    check!((1..=31).contains(&day) && (1..=12).contains(&month), "day {day}, month {month}");
    check!(year < 100, "year {year}");
    Ok(())
}

/// The seconds move.
fn rtc_seconds() -> Outcome {
    let start = rtc::read(0);
    check!(time::patiently(|| rtc::read(0) != start), "the seconds stand at {start:#x}");
    Ok(())
}

/// The periodic interrupt at 1024 Hz, which stays up until register C is read.
fn rtc_periodic() -> Outcome {
    let vector = pic::BASE + 8;
    trap::handle(vector, |_| {
        rtc::read(rtc::C);
        pic::acknowledge_slave();
    });
    pic::unmask(1 << 8);
    rtc::write(rtc::A, rtc::read(rtc::A) & 0xf0 | 6);
    rtc::write(rtc::B, rtc::read(rtc::B) | 0x40);
    rtc::read(rtc::C);
    check!(take(vector), "IRQ 8 does not come");
    let mut count = 0;
    cpu::sti();
    let good = time::eventually(|| {
        let before = trap::count(vector);
        time::wait(50);
        count = trap::count(vector) - before;
        (5..=200).contains(&count)
    });
    cpu::cli();
    check!(good, "{count} interrupts in 50 ms, expected 51");
    // Unread, there is no further edge.
    trap::handle(vector, |_| pic::acknowledge_slave());
    cpu::sti();
    time::wait(20);
    let count = trap::count(vector);
    cpu::cli();
    check!(count <= 1, "{count} interrupts while register C is not read");
    check_eq!(rtc::read(rtc::C) & 0xc0, 0xc0, "register C");
    Ok(())
}

/// The memory behind the clock keeps what is written.
fn rtc_memory() -> Outcome {
    let old = rtc::read(0x50);
    for value in [0x5a, 0xa5] {
        rtc::write(0x50, value);
        check_eq!(rtc::read(0x50), value, "byte 50");
    }
    rtc::write(0x50, old);
    Ok(())
}
