//! The state every test starts from.

use core::arch::asm;

use crate::hw::cpu::{cr0_bits, cr4_bits, msr};
use crate::hw::ioapic::IoApic;
use crate::hw::{cpu, cpuid, gdt, lapic, pages, pic, rtc};
use crate::modes;
use crate::trap;

/// Undoes whatever a test left behind: registers, tables, interrupt sources.
pub fn restore() {
    cpu::cli();
    cpu::set_cr0(0x8000_0000 | cr0_bits::WP | cr0_bits::NE | 0x10 | cr0_bits::MP | 1);
    cpu::set_cr4(0x20 | cr4_bits::OSFXSR | cr4_bits::OSXMMEXCPT);
    cpu::set_cr3(pages::root());
    pages::reset();
    let nx = if cpuid::NX.is_offered() { 0x800 } else { 0 };
    cpu::wrmsr(msr::EFER, 0x100 | nx);
    gdt::load();
    trap::reset();
    modes::reset();
    cpu::set_dr7(0x400);
    cpu::set_dr6(0xffff_0ff0);
    cpu::set_cr8(0);
    cpu::wrmsr(msr::FS_BASE, 0);
    cpu::wrmsr(msr::GS_BASE, 0);
    cpu::wrmsr(msr::KERNEL_GS_BASE, 0);
    // SAFETY: the state of a fresh FPU and clear flags.
    unsafe {
        asm!("fninit", "ldmxcsr [{}]", "push 2", "popfq", in(reg) &0x1f80u32);
    }
    quiet();
}

/// Masks every interrupt source and drops what is pending.
fn quiet() {
    pic::start();
    pic::stop();
    if let Ok(ioapic) = IoApic::find() {
        ioapic.mask_all();
    }
    lapic::start();
    rtc::quiet();
    trap::drain();
    pic::start();
}
