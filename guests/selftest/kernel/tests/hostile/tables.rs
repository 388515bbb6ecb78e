//! Configuration space: BARs in wrong places, messages to nowhere, and random bits.

use crate::harness::Outcome;
use crate::hw::lapic;

use super::driver::Driver;
use super::pci::{self, BAR0, COMMAND};
use super::proof::works;
use super::random::Random;
use super::{each, mmio};

family!("hostile": item_14_bars_are_moved, item_14_messages_lead_nowhere, item_14_configuration_space);

fn item_14_bars_are_moved() -> Outcome {
    each(|driver| {
        let before = pci::read(driver.device, BAR0);
        // Over RAM (this kernel, its rings), registers of others, the end of the address space.
        for place in [
            0u32,
            0x10_0000,
            0x100_0000,
            lapic::PAGE as u32,
            mmio::IO_APIC as u32,
            mmio::ECAM as u32,
            !0x7fff,
        ] {
            pci::write(driver.device, BAR0, place);
            mmio::read(u64::from(place) + 0x40, 4);
            check_eq!(mmio::read(lapic::PAGE + 0x20, 4) >> 24, lapic::id(), "APIC ID under a BAR");
            let command = pci::read(driver.device, COMMAND);
            pci::write(driver.device, COMMAND, command & !7 & 0xffff);
            pci::write(driver.device, COMMAND, command & 0xffff);
        }
        pci::write(driver.device, BAR0, before);
        works(driver)
    })
}

/// MSI-X with messages to addresses that are no local APIC's: nobody gets them.
fn item_14_messages_lead_nowhere() -> Outcome {
    each(|driver| {
        let registers = driver.registers;
        let vectors = u64::from(pci::read(driver.device, registers.msix) >> 16 & 0x7ff) + 1;
        let mut random = Random::new(11);
        for place in
            [0x110_3000, 0, u64::MAX, 0xc000_0000, 1 << 63 | 0xfee0_0000, 0x1_fee0_0000, registers.bar]
        {
            for vector in 0..vectors {
                mmio::write(registers.table + 16 * vector, 8, place);
                mmio::write(registers.table + 16 * vector + 8, 8, random.next().into());
            }
            pci::write(driver.device, registers.msix, 0x8000 << 16);
            driver.start()?;
            for queue in 0..driver.queues() {
                driver.queue_size(queue);
                driver.write(26, 2, u64::from(queue) % vectors);
            }
            works(driver)?;
        }
        pci::write(driver.device, registers.msix, 0);
        (0..vectors).for_each(|vector| mmio::write(registers.table + 16 * vector + 12, 4, 1));
        // Vectors that do not exist.
        for queue in 0..=driver.queues() {
            driver.queue_size(queue);
            driver.write(26, 2, 0x7fff);
        }
        driver.recovers()
    })
}

/// Random writes to all registers of a function but its BARs and its command, which are put back as the others are.
fn item_14_configuration_space() -> Outcome {
    each(|driver| {
        driver.reset()?;
        let saved: [u32; 64] = core::array::from_fn(|n| pci::read(driver.device, 4 * n as u8));
        let mut random = Random::new(3);
        for _ in 0..20_000 {
            let value = random.wide();
            let register = value as u8;
            if (COMMAND..COMMAND + 4).contains(&register) || (BAR0 & !3..BAR0 + 24).contains(&(register & !3))
            {
                continue;
            }
            through_memory(driver, register, value);
        }
        for (n, value) in (0..).zip(saved) {
            pci::write(driver.device, 4 * n, value);
        }
        driver.recovers()
    })
}

/// The configuration space in memory, at any width that stays clear of command and BARs.
fn through_memory(driver: &Driver, register: u8, value: u64) {
    let width = 1 << (value >> 8 & 3);
    let at = u64::from(register);
    if (at + width > 4 && at < 8) || (at + width > 16 && at < 40) {
        return;
    }
    let at = mmio::ECAM + (u64::from(driver.device) << 15) + at;
    mmio::write(at, width, value >> 16);
    mmio::read(at, width);
}
