//! Accesses of every width at every port and at every byte of registers in memory.
//!
//! What ends a machine by its nature is left out: it would be no mistake. So the resets, sleep and the debug-exit port
//! get zeroes or nothing, and the local APIC's command register sends no INIT.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{self, Outcome};
use crate::hw::{ioapic, lapic, port, serial, time};
use crate::smp;
use crate::trap::{self, vector};

use super::driver::{Driver, PATIENCE};
use super::mmio::{self, WIDTHS};
use super::pci;
use super::random::Random;
use super::{each, proof};

family!("hostile": item_14_ports_are_read, item_14_ports_are_written, item_14_device_registers,
    item_14_configuration_registers, item_14_interrupt_controllers, item_14_holes);

fn item_14_ports_are_read() -> Outcome {
    for number in 0..=u16::MAX {
        port::read8(number);
        port::read16(number);
        port::read32(number);
    }
    after_ports()
}

/// The byte that a port may get: none where any would end the machine, or take a device away.
fn byte_for(number: u16, random: u8) -> Option<u8> {
    match number {
        0xf4..=0xf7 | 0x505 | 0x628..=0x62b => None,
        // Keyboard controller, PIIX reset control, ACPI's sleep control, and the enable bit of CF8h.
        0x60 | 0x64 | 0xcf9 | 0xcfb | 0x604 | 0x605 => Some(0),
        0x92 => Some(2), // A20 stays
        _ => Some(random),
    }
}

/// True while the other CPUs are to take no interrupts.
static DEAF: AtomicBool = AtomicBool::new(false);
/// How many do not.
static DEAF_CPUS: AtomicUsize = AtomicUsize::new(0);

/// Calls run with interrupts off.
fn be_deaf(_: usize) {
    DEAF_CPUS.fetch_add(1, Ordering::Relaxed);
    while DEAF.load(Ordering::Relaxed) {
        core::hint::spin_loop();
    }
}

/// The interrupt controllers get their share, and what they then do is not for the other CPUs to hear.
fn item_14_ports_are_written() -> Outcome {
    let cpus = if smp::listed() > 1 { smp::online()? } else { 1 };
    DEAF.store(true, Ordering::Relaxed);
    DEAF_CPUS.store(1, Ordering::Relaxed);
    (1..cpus).for_each(|cpu| smp::begin(cpu, be_deaf));
    let all = time::wait_until(PATIENCE, || DEAF_CPUS.load(Ordering::Relaxed) == cpus);
    check!(all, "a CPU does not come to its call");
    write_ports();
    // Interrupts of edges, not levels, and none of the other serial ports.
    [0x4d0, 0x4d1, 0x2fb, 0x3eb, 0x2eb, 0x2f9, 0x3e9, 0x2e9].map(|number| port::write8(number, 0));
    serial::start();
    harness::restore();
    DEAF.store(false, Ordering::Relaxed);
    (1..cpus).try_for_each(smp::end)?;
    after_ports()
}

fn write_ports() {
    let mut random = Random::new(14);
    for number in 0..=u16::MAX {
        for width in [1, 2, 4u16] {
            let mut value = 0;
            let mut harmless = true;
            for n in 0..width {
                match byte_for(number.wrapping_add(n), random.next() as u8) {
                    Some(byte) => value |= u32::from(byte) << (8 * n),
                    None => harmless = false,
                }
            }
            match width {
                _ if !harmless => {}
                1 => port::write8(number, value as u8),
                2 => port::write16(number, value as u16),
                _ => port::write32(number, value),
            }
        }
    }
}

/// The console goes on in a line of its own, and the devices are as they were.
fn after_ports() -> Outcome {
    serial::start();
    say!("");
    each(proof::works)
}

/// Reads and writes each byte of a region, and across its edges.
fn sweep(start: u64, end: u64, write: impl Fn(u64, u64) -> Option<u64>) {
    for at in start.saturating_sub(7)..end {
        for width in WIDTHS {
            mmio::read(at, width);
            if at >= start
                && at + width <= end
                && let Some(value) = write(at, width)
            {
                mmio::write(at, width, value);
            }
        }
    }
}

fn item_14_device_registers() -> Outcome {
    each(|driver| {
        for seed in [0, u64::MAX, 0x5a5a_5a5a_5a5a_5a5a, 0x0102_0408_1020_4080] {
            sweep(driver.registers.bar, driver.registers.bar + 0x8000, |at, _| {
                Some(seed.rotate_left(at as u32 & 31))
            });
            quiet(driver);
        }
        driver.recovers()
    })
}

/// All vectors masked again.
fn quiet(driver: &Driver) {
    for n in 0..64 {
        mmio::write(driver.registers.table + 16 * n + 12, 4, 1);
    }
}

/// Those of functions that are there and of some that are not; nothing is changed in them.
fn item_14_configuration_registers() -> Outcome {
    for device in 0..32u8 {
        let len = if pci::exists(device) { 4096 } else { 64 };
        let at = mmio::ECAM + (u64::from(device) << 15);
        sweep(at, at + len, |_, _| None);
    }
    sweep(mmio::ECAM + (1 << 20) - 64, mmio::ECAM + (1 << 20), |_, _| Some(u64::MAX));
    each(proof::works)
}

fn item_14_interrupt_controllers() -> Outcome {
    trap::handle(vector::NMI, |_| {});
    // No INIT, no start-up: neither the command register nor the one for interrupts to oneself.
    sweep(lapic::PAGE, lapic::PAGE + 0x1000, |at, width| {
        let spared = [0x300, 0x3f0]
            .iter()
            .any(|&command| at + width > lapic::PAGE + command && at < lapic::PAGE + command + 16);
        (!spared).then_some(0xffff_ffff_ffff_ffff ^ at)
    });
    lapic::start();
    // What is written to the window is masked, whichever half of an entry it is.
    sweep(mmio::IO_APIC, mmio::IO_APIC + 0x1000, |at, _| Some(0x0001_0000_0001_0000 | at & 0xff));
    if let Ok(ioapic) = ioapic::IoApic::find() {
        ioapic.mask_all();
    }
    let id = lapic::id();
    check_eq!(mmio::read(lapic::PAGE + 0x20, 4) >> 24, id, "APIC ID");
    let before = crate::hw::cpu::rdtsc();
    check!(time::patiently(|| crate::hw::cpu::rdtsc() != before), "time stands still");
    each(proof::works)
}

/// Where nobody is: 3 GiB, past the devices, the end of the 32-bit space.
fn item_14_holes() -> Outcome {
    for start in [0xc000_0000u64, 0xe010_0000 + (1 << 25), 0xfed0_0000, 0xffff_f000 - 0x1000] {
        sweep(start, start + 0x1000, |at, _| Some(at));
    }
    each(proof::works)
}
