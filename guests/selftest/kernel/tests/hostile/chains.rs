//! Chains of descriptors that cannot be.

use crate::harness::Outcome;

use super::driver::{Driver, VERSION_1};
use super::each;
use super::ring::{self, DATA, Descriptor, HEAD, INDIRECT, NEXT, SIZE, TABLE, WRITE};

family!("hostile": item_1_chains_loop, item_2_indices_are_out_of_range, item_9_indirect_tables_are_wrong);

/// Writes a descriptor of the queue under attack.
pub fn describe(driver: &Driver, index: u16, descriptor: Descriptor) {
    ring::describe(ring::rings(driver.eager_queue()).table, index, descriptor);
}

/// Offers a chain that cannot be: the device notices, and recovers.
pub fn offer_wrong(driver: &Driver, head: u16, what: &str) -> Outcome {
    driver.offer(head);
    driver.notices(what)?;
    driver.recovers()
}

fn item_1_chains_loop() -> Outcome {
    each(|driver| {
        describe(driver, 0, (HEAD, 16, NEXT, 1));
        describe(driver, 1, (DATA, 512, NEXT, 0));
        offer_wrong(driver, 0, "a loop of two")?;
        describe(driver, 3, (DATA, 512, NEXT, 3));
        offer_wrong(driver, 3, "a descriptor that follows itself")?;
        // Longer than the queue: an indirect table of more entries than a chain may have, each followed by the next.
        for n in 0..2048 {
            ring::describe(TABLE, n, (DATA, 1, NEXT, n + 1));
        }
        describe(driver, 0, (TABLE, 16 * 2048, INDIRECT, 0));
        offer_wrong(driver, 0, "a chain of 2048")
    })
}

fn item_2_indices_are_out_of_range() -> Outcome {
    each(|driver| {
        for next in [SIZE, 0x7fff, 0xffff] {
            describe(driver, 0, (HEAD, 16, NEXT, next));
            offer_wrong(driver, 0, "a link out of the table")?;
        }
        for head in [SIZE, 0x7fff, 0xffff] {
            offer_wrong(driver, head, "a head out of the table")?;
        }
        Ok(())
    })
}

fn item_9_indirect_tables_are_wrong() -> Outcome {
    each(|driver| {
        let tables: [(&str, &[Descriptor], u64, u32); 8] = [
            ("a table in a table", &[(TABLE, 16, INDIRECT, 0)], TABLE, 16),
            ("a table that loops", &[(HEAD, 16, NEXT, 1), (DATA, 512, NEXT, 0)], TABLE, 32),
            ("a table of 17 bytes", &[(HEAD, 16, 0, 0)], TABLE, 17),
            ("an empty table", &[], TABLE, 0),
            ("a link out of an indirect table", &[(HEAD, 16, NEXT, 1)], TABLE, 16),
            ("a table of 4 GiB", &[(HEAD, 16, NEXT, 0)], TABLE, 0xffff_fff0),
            ("a table in no RAM", &[], 0xf000_0000, 64),
            ("a table that wraps", &[], !15, 64),
        ];
        for (what, entries, at, len) in tables {
            (0..).zip(entries).for_each(|(n, entry)| ring::describe(TABLE, n, *entry));
            describe(driver, 0, (at, len, INDIRECT, 0));
            offer_wrong(driver, 0, what)?;
        }
        driver.start_with(VERSION_1)?;
        ring::describe(TABLE, 0, (DATA, 512, WRITE, 0));
        describe(driver, 0, (TABLE, 16, INDIRECT, 0));
        offer_wrong(driver, 0, "an indirect table that was not negotiated")
    })
}
