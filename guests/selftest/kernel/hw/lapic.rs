//! The local APIC, through its page or, in x2APIC mode, through MSRs.

use super::cpu::{self, msr};

/// The page, as set up by firmware or reset.
pub const PAGE: u64 = 0xfee0_0000;

/// Register offsets.
pub mod register {
    pub const ID: u32 = 0x20;
    pub const VERSION: u32 = 0x30;
    pub const TPR: u32 = 0x80;
    pub const PPR: u32 = 0xa0;
    pub const EOI: u32 = 0xb0;
    pub const LDR: u32 = 0xd0;
    pub const DFR: u32 = 0xe0;
    pub const SVR: u32 = 0xf0;
    pub const ISR: u32 = 0x100;
    pub const TMR: u32 = 0x180;
    pub const IRR: u32 = 0x200;
    pub const ESR: u32 = 0x280;
    pub const ICR: u32 = 0x300;
    pub const ICR_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_LINT0: u32 = 0x350;
    pub const LVT_LINT1: u32 = 0x360;
    pub const LVT_ERROR: u32 = 0x370;
    pub const INITIAL_COUNT: u32 = 0x380;
    pub const CURRENT_COUNT: u32 = 0x390;
    pub const DIVIDE: u32 = 0x3e0;
    pub const SELF_IPI: u32 = 0x3f0;
}

use register::*;

/// The mask bit of a local vector table entry.
pub const MASKED: u32 = 1 << 16;
/// The spurious vector in [`start`].
pub const SPURIOUS: u8 = 0xff;

/// Bits of IA32_APIC_BASE.
const EXTENDED: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;

/// True in x2APIC mode.
pub fn is_x2apic() -> bool {
    cpu::rdmsr(msr::APIC_BASE) & EXTENDED != 0
}

/// Reads a register.
pub fn read(register: u32) -> u32 {
    if is_x2apic() {
        return cpu::rdmsr(0x800 + (register >> 4)) as u32;
    }
    // SAFETY: the page is mapped one to one.
    unsafe { ((PAGE + u64::from(register)) as *const u32).read_volatile() }
}

/// Writes a register.
pub fn write(register: u32, value: u32) {
    if is_x2apic() {
        return cpu::wrmsr(0x800 + (register >> 4), value.into());
    }
    // SAFETY: as for `read`.
    unsafe { ((PAGE + u64::from(register)) as *mut u32).write_volatile(value) }
}

/// This CPU's APIC ID.
pub fn id() -> u32 {
    if is_x2apic() { read(ID) } else { read(ID) >> 24 }
}

/// Sends an interrupt: the low half of ICR to the APIC with ID `target`.
pub fn send(target: u32, command: u32) {
    if is_x2apic() {
        return cpu::wrmsr(0x830, u64::from(target) << 32 | u64::from(command));
    }
    super::time::patiently(|| read(ICR) & 1 << 12 == 0);
    write(ICR_HIGH, target << 24);
    write(ICR, command);
}

/// Ends the interrupt of the highest priority.
pub fn acknowledge() {
    write(EOI, 0);
}

/// True if `vector`'s bit is set in a 256-bit register (ISR, TMR or IRR).
pub fn is_set(register: u32, vector: u8) -> bool {
    read(register + u32::from(vector >> 5) * 16) >> (vector & 31) & 1 != 0
}

/// Puts the APIC into xAPIC mode, enabled, virtual wire (LINT0 passes the 8259 through), timer off.
pub fn start() {
    let base = cpu::rdmsr(msr::APIC_BASE);
    if base & EXTENDED != 0 {
        // From x2APIC the way back leads through the disabled state.
        cpu::wrmsr(msr::APIC_BASE, base & !(EXTENDED | ENABLED));
    }
    if base & (ENABLED | EXTENDED) != ENABLED {
        cpu::wrmsr(msr::APIC_BASE, base & !EXTENDED | ENABLED);
    }
    write(SVR, 0x100 | u32::from(SPURIOUS));
    write(LVT_TIMER, MASKED);
    write(INITIAL_COUNT, 0);
    write(LVT_LINT0, 0x700);
    write(LVT_LINT1, 0x400);
    write(LVT_ERROR, MASKED);
    write(TPR, 0);
    write(DFR, u32::MAX);
    write(LDR, 1 << 24);
    for _ in 0..16 {
        if (0..8).all(|word| read(ISR + word * 16) == 0) {
            break;
        }
        acknowledge();
    }
}

/// Switches to x2APIC mode.
pub fn enter_x2apic() {
    cpu::wrmsr(msr::APIC_BASE, cpu::rdmsr(msr::APIC_BASE) | ENABLED | EXTENDED);
}
