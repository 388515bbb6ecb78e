//! The two 8259 interrupt controllers, and channel 0 of the 8254 as their first source.

use super::port::{read8, write8};
use super::time;
use crate::harness::Failure;

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;

/// The vector of IRQ 0; IRQ 8 follows eight on.
pub const BASE: u8 = 0x20;

/// Initializes both controllers to vectors 0x20 to 0x2f, everything masked.
pub fn start() {
    for (port, base, cascade) in [(MASTER, BASE, 4), (SLAVE, BASE + 8, 2)] {
        write8(port, 0x11); // ICW1: edge triggered, cascade, ICW4 follows
        write8(port + 1, base);
        write8(port + 1, cascade);
        write8(port + 1, 1); // ICW4: 8086 mode
        write8(port + 1, 0xff);
    }
}

/// Lets exactly the interrupts in `mask` (bit 0 is IRQ 0) through, and the cascade if need be.
pub fn unmask(mask: u16) {
    let mask = if mask & 0xff00 != 0 { mask | 4 } else { mask };
    write8(MASTER + 1, !mask as u8);
    write8(SLAVE + 1, (!mask >> 8) as u8);
}

/// The interrupts requested and not yet taken.
pub fn requests() -> u16 {
    write8(MASTER, 0x0a);
    write8(SLAVE, 0x0a);
    u16::from(read8(SLAVE)) << 8 | u16::from(read8(MASTER))
}

/// The interrupts in service.
pub fn in_service() -> u16 {
    write8(MASTER, 0x0b);
    write8(SLAVE, 0x0b);
    u16::from(read8(SLAVE)) << 8 | u16::from(read8(MASTER))
}

/// Ends the interrupt of the highest priority on the first controller.
pub fn acknowledge() {
    write8(MASTER, 0x20);
}

/// Ends an interrupt of the second controller, and the cascade on the first.
pub fn acknowledge_slave() {
    write8(SLAVE, 0x20);
    write8(MASTER, 0x20);
}

/// Runs channel 0 down once from `count`.
pub fn one_shot(count: u16) {
    write8(0x43, 0x30);
    write8(0x40, count as u8);
    write8(0x40, (count >> 8) as u8);
}

/// Runs channel 0 periodically with `divisor`.
pub fn periodic(divisor: u16) {
    write8(0x43, 0x34);
    write8(0x40, divisor as u8);
    write8(0x40, (divisor >> 8) as u8);
}

/// Stops channel 0: mode 0 with no count loaded.
pub fn stop() {
    write8(0x43, 0x30);
}

/// Arms the timer and waits until its interrupt is pending; the vector it will come by.
pub fn pending_timer() -> Result<u8, Failure> {
    start();
    one_shot(10);
    unmask(1);
    if time::patiently(|| requests() & 1 != 0) {
        Ok(BASE)
    } else {
        Err(crate::harness::wrong(format_args!("IRQ 0 is not requested after a one-shot of 8 us")))
    }
}
