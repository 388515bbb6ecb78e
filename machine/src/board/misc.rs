//! The ports with nothing behind them worth a chip: debug exit, debug consoles, POST code, DMA pages,
//! the panic notifier.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use engine::Width;

use super::control::Control;
use super::seat::lock;
use crate::bus::PortDevice;
use crate::chip::{DebugConsole, Request};

/// QEMU's `isa-debug-exit`: a value ends the machine with exit code `value << 1 | 1`.
pub struct DebugExit(pub Arc<Control>);

impl PortDevice for DebugExit {
    fn read(&self, _: u16, width: Width) -> u32 {
        width.ones() as u32
    }

    fn write(&self, _: u16, _: Width, value: u32) {
        self.0.ask(Request::DebugExit(value << 1 | 1));
    }
}

/// QEMU's `pvpanic`: bit 0 says that the guest panicked, bit 1 that a crash kernel takes over.
pub struct Panic(pub Arc<Control>);

/// Where QEMU has `pvpanic`.
pub const PANIC_PORT: u16 = 0x505;

const PANICKED: u32 = 1;

impl PortDevice for Panic {
    fn read(&self, _: u16, _: Width) -> u32 {
        PANICKED
    }

    fn write(&self, _: u16, _: Width, value: u32) {
        if value & PANICKED != 0 {
            self.0.ask(Request::GuestPanic);
        }
    }
}

/// Lines that are logged at most.
const MOST_LINES: u32 = 10_000;

/// A debug console whose lines go to the log.
#[derive(Default)]
pub struct DebugPort {
    console: Mutex<DebugConsole>,
    lines: AtomicU32,
}

impl PortDevice for DebugPort {
    fn read(&self, _: u16, _: Width) -> u32 {
        DebugConsole::PRESENT.into()
    }

    fn write(&self, _: u16, _: Width, value: u32) {
        if let Some(line) = lock(&self.console).write(value as u8)
            && self.lines.fetch_add(1, Ordering::Relaxed) < MOST_LINES
        {
            tracing::info!(target: "guest", "{line}");
        }
    }
}

/// Bytes that are kept and mean nothing: the POST code at 80h and the DMA page registers behind it. Guests
/// write port 80h to pass time.
#[derive(Default)]
pub struct Scratch([AtomicU8; 16]);

impl PortDevice for Scratch {
    fn read(&self, offset: u16, _: Width) -> u32 {
        self.0[usize::from(offset & 15)].load(Ordering::Relaxed).into()
    }

    fn write(&self, offset: u16, _: Width, value: u32) {
        self.0[usize::from(offset & 15)].store(value as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_exit_codes_as_qemu_does() {
        let control = Arc::new(Control::new(Box::new([])));
        DebugExit(Arc::clone(&control)).write(0, Width::Byte, 0x10);
        DebugExit(Arc::clone(&control)).write(0, Width::Dword, u32::MAX);
        assert_eq!(control.take(), Some(Request::DebugExit(0x21)), "the first one counts");
        let panic = Panic(Arc::clone(&control));
        panic.write(0, Width::Byte, 2);
        assert!(!control.is_asked());
        panic.write(0, Width::Byte, 1);
        assert_eq!(control.take(), Some(Request::GuestPanic));
    }
}
