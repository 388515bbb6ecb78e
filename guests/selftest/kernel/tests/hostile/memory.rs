//! Buffers where no buffer can be.

use crate::boot;
use crate::harness::{Outcome, wrong};
use crate::hw::lapic;

use super::chains::{describe, offer_wrong};
use super::driver::{BLOCK, Driver};
use super::mmio;
use super::proof::{IN, head};
use super::ring::{self, HEAD, INDIRECT, NEXT, STATUS, TABLE, WRITE};
use super::{each, each_disk};

family!("hostile": item_3_buffers_are_not_ram, item_4_a_chain_has_more_than_4_gib, item_5_buffers_are_the_rings,
    item_5_buffers_are_registers);

/// Where the RAM ends that begins at 1 MiB.
fn end_of_ram() -> Result<u64, crate::harness::Failure> {
    let info = boot::info().ok_or_else(|| wrong(format_args!("the loader said nothing")))?;
    let holds =
        |range: &&boot::Range| range.kind == 1 && range.start <= TABLE && TABLE < range.start + range.size;
    let range = info.ranges().iter().find(holds);
    range.map(|range| range.start + range.size).ok_or_else(|| wrong(format_args!("no RAM at {TABLE:#x}")))
}

/// A request whose data is there: whatever is wrong with that, a disk has a head and a status besides.
fn with_data(driver: &Driver, at: u64, len: u32, what: &str) -> Outcome {
    if driver.kind == BLOCK {
        ring::chain(0, 0, &[(HEAD, 16, 0), (at, len, WRITE), (STATUS, 1, WRITE)]);
        head(IN, 0);
    } else {
        describe(driver, 0, (at, len, 0, 0));
    }
    offer_wrong(driver, 0, what)
}

fn item_3_buffers_are_not_ram() -> Outcome {
    each(|driver| {
        let end = end_of_ram()?;
        for at in [u64::MAX - 7, 1 << 63, 1 << 52, 0x8000_0000_0000, 0xc000_0000] {
            with_data(driver, at, 512, "an address that is no RAM")?;
        }
        with_data(driver, end, 512, "the byte after RAM")?;
        with_data(driver, end - 256, 512, "a buffer that sticks out of RAM")?;
        with_data(driver, 0, u32::MAX, "a buffer of 4 GiB")
    })
}

fn item_4_a_chain_has_more_than_4_gib() -> Outcome {
    each(|driver| {
        // The same piece of RAM again and again.
        let len = (end_of_ram()? - 0x10_0000).min(1 << 30) as u32;
        let flags = if driver.eager_queue() == 0 { WRITE } else { 0 };
        for n in 0..1024 {
            ring::describe(TABLE, n, (0x10_0000, len, flags | NEXT, n + 1));
        }
        describe(driver, 0, (TABLE, 16 * 1024, INDIRECT, 0));
        offer_wrong(driver, 0, "more than 4 GiB")
    })
}

/// The driver breaks its own rings by a disk's hand: any answer will do, and none.
fn item_5_buffers_are_the_rings() -> Outcome {
    each_disk(|driver| {
        let rings = ring::rings(0);
        for at in [rings.table, rings.available, rings.used, TABLE] {
            ring::chain(0, 0, &[(HEAD, 16, 0), (at, 512, WRITE), (STATUS, 1, WRITE)]);
            head(IN, 0);
            driver.offer(0);
            driver.recovers()?;
        }
        for at in [rings.used, rings.used + 2, rings.available + 2, HEAD] {
            ring::chain(0, 0, &[(HEAD, 16, 0), (at, 1, WRITE)]);
            head(4, 0);
            driver.offer(0);
            driver.recovers()?;
        }
        Ok(())
    })
}

fn item_5_buffers_are_registers() -> Outcome {
    each(|driver| {
        let registers = driver.registers;
        for at in [lapic::PAGE, mmio::IO_APIC, mmio::ECAM, registers.bar, registers.notify, registers.table] {
            with_data(driver, at, 64, "a buffer of registers")?;
        }
        // Tables and rings of registers, too.
        describe(driver, 0, (registers.common, 64, INDIRECT, 0));
        offer_wrong(driver, 0, "an indirect table of registers")?;
        check_eq!(mmio::read(lapic::PAGE + 0x20, 4) >> 24, lapic::id(), "APIC ID");
        Ok(())
    })
}
