//! The 16550A at COM1, beyond printing.

use super::pic::take;
use crate::harness::Outcome;
use crate::hw::port::{read8, write8};
use crate::hw::serial::{self, COM1};
use crate::hw::{pic, time};
use crate::trap;

family!("interrupts": serial_registers, serial_transmit_interrupt, serial_loopback);

fn serial_registers() -> Outcome {
    for value in [0x5a, 0xa5] {
        write8(COM1 + 7, value);
        check_eq!(read8(COM1 + 7), value, "scratch register");
    }
    // FIFOs on: the two upper bits of the identification register.
    check_eq!(read8(COM1 + 2) & 0xc0, 0xc0, "FIFO bits");
    let line = read8(COM1 + 3);
    write8(COM1 + 3, line | 0x80);
    let divisor = read8(COM1);
    write8(COM1 + 3, line);
    check_eq!(divisor, 1, "divisor");
    Ok(())
}

/// The transmitter is empty: enabling its interrupt raises IRQ 4, reading the cause ends it.
fn serial_transmit_interrupt() -> Outcome {
    time::patiently(|| read8(COM1 + 5) & 0x40 != 0);
    let vector = pic::BASE + 4;
    trap::handle(vector, |_| {
        let cause = read8(COM1 + 2) & 0x0f;
        if cause != 2 {
            write8(COM1 + 1, 0);
        }
        pic::acknowledge();
    });
    pic::unmask(1 << 4);
    write8(COM1 + 1, 2);
    let came = take(vector);
    let once = trap::count(vector);
    let again = time::wait_until(5, || trap::count(vector) > once);
    write8(COM1 + 1, 0);
    check!(came, "IRQ 4 does not come");
    check!(!again, "IRQ 4 came again");
    Ok(())
}

/// In loopback what is sent comes in, and the modem's outputs are its inputs.
fn serial_loopback() -> Outcome {
    let modem = read8(COM1 + 4);
    time::patiently(|| read8(COM1 + 5) & 0x40 != 0);
    write8(COM1 + 4, 0x10 | 0x0f);
    let status = read8(COM1 + 6) >> 4;
    write8(COM1, 0x5a);
    let ready = time::patiently(|| read8(COM1 + 5) & 1 != 0);
    let byte = read8(COM1);
    write8(COM1 + 4, 0x10);
    let off = read8(COM1 + 6) >> 4;
    write8(COM1 + 4, modem);
    serial::start();
    check_eq!(status, 0xf, "modem status with all outputs on");
    check_eq!(off, 0, "modem status with all outputs off");
    check!(ready, "no data ready");
    check_eq!(byte, 0x5a, "byte received");
    Ok(())
}
