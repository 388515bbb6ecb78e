//! Queues that cannot be, and indices that lie.

use crate::harness::Outcome;
use crate::hw::time;

use super::chains::describe;
use super::driver::{
    Driver, FEATURES_OK, NEEDS_RESET, QUEUE_ENABLE, QUEUE_SIZE, QUEUE_TABLE, READY, VERSION_1,
};
use super::proof::works;
use super::ring::{self, DATA, Rings, SIZE, WRITE};
use super::{each, each_disk};

family!("hostile": item_6_queues_are_described_anew_while_they_are_used, item_7_queues_cannot_be,
    item_8_the_index_jumps_or_runs_backwards, item_8_heads_are_offered_twice,
    item_8_more_is_offered_than_the_queue_holds);

fn item_6_queues_are_described_anew_while_they_are_used() -> Outcome {
    each(|driver| {
        for queue in 0..driver.queues() {
            let size = driver.queue_size(queue);
            driver.set_up(queue, 4, ring::rings(queue + 1));
            check_eq!(driver.read(QUEUE_SIZE, 2), size, "size of a queue in use");
            check_eq!(driver.read(QUEUE_TABLE, 8), ring::rings(queue).table, "table of a queue in use");
            driver.write(QUEUE_ENABLE, 2, 0);
            check_eq!(driver.read(QUEUE_ENABLE, 2), 1, "a queue in use is enabled");
        }
        driver.write(8, 4, 0);
        driver.write(12, 4, 0xffff_ffff);
        driver.set_status(FEATURES_OK);
        check_eq!(driver.status(), READY, "status");
        works(driver)
    })
}

/// A queue like that makes the device ask for a reset, and no kick changes it.
fn refuses(driver: &Driver, size: u16, rings: Rings) -> Outcome {
    driver.negotiate(VERSION_1)?;
    driver.set_up(0, size, rings);
    driver.set_status(READY);
    check_eq!(
        driver.status() & NEEDS_RESET,
        NEEDS_RESET,
        "{driver} with a queue of {size} at {:#x}, {:#x}, {:#x}",
        rings.table,
        rings.available,
        rings.used
    );
    driver.kick(0);
    Ok(())
}

fn item_7_queues_cannot_be() -> Outcome {
    each(|driver| {
        driver.reset()?;
        let most = driver.queue_size(0);
        let good = ring::fresh(0);
        for size in [0, 3, most.wrapping_add(1), most.wrapping_mul(2), 0x8000, 0xffff] {
            refuses(driver, size, good)?;
        }
        for table in [good.table + 8, !15, 1 << 63, 0xc000_0000, 0xfee0_0000, driver.registers.bar] {
            refuses(driver, 4, Rings { table, ..good })?;
        }
        for available in [good.available + 1, !1, 1 << 63, 0xc000_0000, driver.registers.notify] {
            refuses(driver, 4, Rings { available, ..good })?;
        }
        for used in [good.used + 2, !3, 1 << 63, 0xc000_0000, driver.registers.common] {
            refuses(driver, 4, Rings { used, ..good })?;
        }
        // All three in one place: the driver harms itself alone, and may even see an answer.
        driver.negotiate(VERSION_1)?;
        driver.set_up(0, 4, Rings { table: good.table, available: good.table, used: good.table });
        driver.set_status(READY);
        driver.kick(0);
        // DRIVER_OK before any queue, and without agreement about features.
        driver.negotiate(VERSION_1)?;
        driver.set_status(READY);
        (0..=driver.queues()).for_each(|queue| driver.kick(queue));
        driver.reset()?;
        driver.set_status(READY & !FEATURES_OK);
        driver.kick(0);
        driver.recovers()
    })
}

fn item_8_the_index_jumps_or_runs_backwards() -> Outcome {
    each(|driver| {
        let queue = driver.eager_queue();
        for jump in [0x8000, SIZE + 1, 0xffff] {
            ring::set_index(queue, ring::used_index(queue).wrapping_add(jump));
            driver.kick(queue);
            driver.notices("an index that jumps, or runs backwards")?;
            driver.recovers()?;
        }
        Ok(())
    })
}

fn item_8_heads_are_offered_twice() -> Outcome {
    each(|driver| {
        let queue = driver.eager_queue();
        describe(driver, 0, (DATA, 512, WRITE, 0));
        for _ in 0..SIZE {
            ring::offer(queue, 0);
        }
        driver.kick(queue);
        driver.recovers()
    })
}

/// The index is moved on while all that the queue holds is with the back-end.
fn item_8_more_is_offered_than_the_queue_holds() -> Outcome {
    each_disk(|driver| {
        super::requests::read_much(0);
        for n in 0..400 {
            ring::offer(0, 3 * (n % 5));
            driver.kick(0);
        }
        // It notices, or was so fast that it never held too many.
        time::wait(5);
        driver.recovers()
    })
}
