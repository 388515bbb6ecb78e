//! Three ways out, tried in turn: the debug-exit port, ACPI power-off, a halt.

use super::acpi::Acpi;
use super::{cpu, port};

/// QEMU's `isa-debug-exit` port.
pub const DEBUG_EXIT: u16 = 0xf4;

/// What is written there when all tests passed; QEMU then exits with twice this plus one.
pub const SUCCESS: u8 = 0x10;
/// What is written there when a test failed.
pub const FAILURE: u8 = 0x11;

/// SLP_EN in PM1_CNT.
const SLEEP_ENABLE: u16 = 1 << 13;

/// Leaves with `code` through the debug-exit port, or switches off.
pub fn leave(code: u8, acpi: Option<&Acpi>) -> ! {
    port::write8(DEBUG_EXIT, code);
    if let Some(acpi) = acpi
        && let (Some(sleep), true) = (acpi.soft_off, acpi.pm1a_control != 0)
    {
        port::write16(acpi.pm1a_control, u16::from(sleep) << 10 | SLEEP_ENABLE);
    }
    cpu::halt_forever()
}
