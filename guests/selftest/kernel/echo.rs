//! `echo`: what comes in on the serial port goes out again, until a `.`.
//!
//! Driven by interrupts alone (IRQ 4 through the 8259), with the CPU halted in between: so a
//! console that answers proves the whole way from the terminal to the interrupt and back.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::hw::serial::{COM1, send};
use crate::hw::{pic, port};
use crate::trap;

static DONE: AtomicBool = AtomicBool::new(false);

const IRQ: u8 = 4;
const DATA_READY: u8 = 1;

/// Runs until a `.` was echoed.
pub fn run() {
    say!("selftest: echo until '.'");
    trap::handle(pic::BASE + IRQ, |_| {
        // Reading the identification register is not needed: received data is the only source.
        while port::read8(COM1 + 5) & DATA_READY != 0 {
            let byte = port::read8(COM1);
            send(byte);
            if byte == b'\r' {
                send(b'\n');
            }
            DONE.fetch_or(byte == b'.', Ordering::Relaxed);
        }
        pic::acknowledge();
    });
    pic::start();
    pic::unmask(1 << IRQ);
    port::write8(COM1 + 1, 1);
    while !DONE.load(Ordering::Relaxed) {
        // SAFETY: STI's shadow makes the pair indivisible: no interrupt is lost between them.
        unsafe { asm!("sti", "hlt", "cli") }
    }
    port::write8(COM1 + 1, 0);
    pic::unmask(0);
    say!("\nselftest: echo done");
}
