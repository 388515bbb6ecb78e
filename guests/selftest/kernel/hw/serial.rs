//! The console: COM1, polled.

use core::fmt;

use super::port::{read8, write8};

/// COM1's first port.
pub const COM1: u16 = 0x3f8;

const LINE_STATUS: u16 = COM1 + 5;
const HOLDING_EMPTY: u8 = 1 << 5;

/// Sets 115200 baud, 8N1, FIFOs on, interrupts off.
pub fn start() {
    write8(COM1 + 1, 0);
    write8(COM1 + 3, 0x80);
    write8(COM1, 1);
    write8(COM1 + 1, 0);
    write8(COM1 + 3, 0x03);
    write8(COM1 + 2, 0x07);
    // DTR, RTS, and OUT2, which gates the interrupt line on a PC.
    write8(COM1 + 4, 0x0b);
}

/// Sends one byte, not waiting forever for a transmitter that never empties.
pub fn send(byte: u8) {
    for _ in 0..100_000 {
        if read8(LINE_STATUS) & HOLDING_EMPTY != 0 {
            break;
        }
    }
    write8(COM1, byte);
}

/// The console as a formatter; a line feed is preceded by a carriage return.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                send(b'\r');
            }
            send(byte);
        }
        Ok(())
    }
}

/// Prints a line on the console.
macro_rules! say {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let _ = writeln!($crate::hw::serial::Console, $($argument)*);
    }};
}
