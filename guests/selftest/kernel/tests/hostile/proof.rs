//! That a device works: what each kind is there for, done once.

use crate::harness::Outcome;
use crate::hw::time;
use crate::tests::memory::{load, store};

use super::driver::{self, Driver, PATIENCE};
use super::mmio;
use super::ring::{self, DATA, HEAD, STATUS, WRITE};

family!("hostile": item_0_devices_work);

/// Kinds of requests (5.2.6), and their answers.
pub const IN: u32 = 0;
pub const OUT: u32 = 1;
pub const OK: u8 = 0;
pub const IO_ERROR: u8 = 1;

fn item_0_devices_work() -> Outcome {
    super::each(|driver| {
        say!("hostile: {driver}, {} queues", driver.queues());
        works(driver)
    })
}

/// Fails unless a device that has been started does its work.
pub fn works(driver: &Driver) -> Outcome {
    match driver.kind {
        driver::BLOCK => keeps_a_sector(driver)?,
        driver::ENTROPY => gives_random_numbers(driver)?,
        driver::NET => gets_an_answer(driver)?,
        // The others' work wants somebody on the host; that they take kicks is proof enough of their threads.
        _ => (0..driver.queues()).for_each(|queue| driver.kick(queue)),
    }
    check!(!driver.is_broken(), "{driver} breaks at its work");
    Ok(())
}

/// Waits for the next used chain of a queue; its length.
pub fn await_used(driver: &Driver, queue: u16, before: u16) -> Result<u32, crate::harness::Failure> {
    let done = || ring::used_index(queue) != before || driver.is_broken();
    check!(time::wait_until(PATIENCE, done), "{driver} does not use what queue {queue} has");
    check!(!driver.is_broken(), "{driver} gives up on queue {queue}");
    Ok(ring::used(queue, before).1)
}

/// Writes the head of a request, and a status that is none.
pub fn head(kind: u32, sector: u64) {
    store(HEAD, kind);
    store(HEAD + 4, 0u32);
    store(HEAD + 8, sector);
    store(STATUS, 0xeeu8);
}

/// One request of a disk: its status.
pub fn request(
    driver: &Driver,
    kind: u32,
    sector: u64,
    (at, len, flags): (u64, u32, u16),
) -> Result<u8, crate::harness::Failure> {
    head(kind, sector);
    ring::chain(0, 0, &[(HEAD, 16, 0), (at, len, flags), (STATUS, 1, WRITE)]);
    let before = ring::used_index(0);
    ring::offer(0, 0);
    driver.kick(0);
    await_used(driver, 0, before)?;
    Ok(load(STATUS))
}

fn keeps_a_sector(driver: &Driver) -> Outcome {
    let word = time::ticks_per_ms() ^ load::<u64>(DATA).rotate_left(7);
    for n in 0..64 {
        store(DATA + 8 * n, word.wrapping_mul(2 * n + 1));
    }
    check_eq!(request(driver, OUT, 9, (DATA, 512, 0))?, OK, "status of a write to {driver}");
    ring::fill(DATA + 4096, 512, 0);
    check_eq!(request(driver, IN, 9, (DATA + 4096, 512, WRITE))?, OK, "status of a read from {driver}");
    for n in 0..64 {
        check_eq!(load::<u64>(DATA + 4096 + 8 * n), word.wrapping_mul(2 * n + 1), "word {n} of a sector");
    }
    Ok(())
}

fn gives_random_numbers(driver: &Driver) -> Outcome {
    ring::fill(DATA, 64, 0);
    ring::chain(0, 0, &[(DATA, 64, WRITE)]);
    let before = ring::used_index(0);
    driver.offer(0);
    check_eq!(await_used(driver, 0, before)?, 64, "random bytes");
    check!((0..8).any(|n| load::<u64>(DATA + 8 * n) != 0), "64 random bytes are all zero");
    Ok(())
}

/// Asks for the hardware address of 10.0.2.2, which every network of the `user` kind has.
fn gets_an_answer(driver: &Driver) -> Outcome {
    const HEADER: u64 = 12;
    const ARP: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let frame = DATA + HEADER;
    let answer = DATA + 4096;
    ring::fill(DATA, 72, 0);
    ring::fill(answer, 2048, 0);
    ring::fill(frame, 6, 0xff);
    for n in 0..6 {
        let byte = mmio::read(driver.registers.config + n, 1) as u8;
        store(frame + 6 + n, byte);
        store(frame + 22 + n, byte);
    }
    (0..).zip(ARP).for_each(|(n, byte)| store::<u8>(frame + 12 + n, byte));
    store(frame + 28, [10u8, 0, 2, 15]);
    store(frame + 38, [10u8, 0, 2, 2]);
    ring::chain(0, 0, &[(answer, 2048, WRITE)]);
    ring::chain(1, 0, &[(DATA, 12 + 60, 0)]);
    let (received, sent) = (ring::used_index(0), ring::used_index(1));
    ring::offer(0, 0);
    driver.kick(0);
    driver.offer(0);
    await_used(driver, 1, sent)?;
    await_used(driver, 0, received)?;
    check_eq!(load::<u16>(answer + HEADER + 12), 0x0608, "type of the answer");
    check_eq!(load::<u8>(answer + HEADER + 21), 2, "operation of the answer");
    Ok(())
}
