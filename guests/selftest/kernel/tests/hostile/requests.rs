//! Requests of a disk that lie, change, or are given up.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::harness::Outcome;
use crate::hw::time;
use crate::smp;
use crate::tests::memory::{load, store};

use super::chains::offer_wrong;
use super::driver::PATIENCE;
use super::proof::{IN, IO_ERROR, OUT, await_used, head, request, works};
use super::random::Random;
use super::ring::{self, DATA, HEAD, STATUS, WRITE};
use super::{each_disk, mmio};

family!("hostile": item_10_requests_change_after_the_kick, item_11_there_is_no_place_for_the_status,
    item_11_sectors_are_not_on_the_disk, item_12_a_reset_with_requests_under_way);

/// Bytes of a large request.
const LARGE: u32 = 64 << 10;

/// Writes five chains into the table of queue 0, at 0, 3, and so on: reads of 64 KiB each.
pub fn read_much(sector: u64) {
    head(IN, sector);
    for n in 0..5u16 {
        let at = DATA + u64::from(n) * u64::from(LARGE);
        ring::chain(0, 3 * n, &[(HEAD, 16, 0), (at, LARGE, WRITE), (STATUS + u64::from(n), 1, WRITE)]);
    }
}

/// True while another CPU is to change what it can.
static CHANGES: AtomicBool = AtomicBool::new(false);

/// Changes a byte of the descriptors, the ring and the request's head.
fn change(random: &mut Random) {
    let value = random.wide();
    let rings = ring::rings(0);
    let (at, byte) = (value % 48, (value >> 56) as u8);
    match value >> 40 & 3 {
        0 => store(HEAD + at % 16, byte),
        1 => store(rings.available + 4 + at % 32, byte & 15),
        _ => store(rings.table + at, byte),
    }
}

fn change_until_told(_: usize) {
    let mut random = Random::new(77);
    while CHANGES.load(Ordering::Relaxed) {
        change(&mut random);
    }
}

/// From another CPU all the time, and from this one while the device's thread is at it.
fn item_10_requests_change_after_the_kick() -> Outcome {
    let other = smp::listed() > 1;
    if other {
        smp::online()?;
    }
    each_disk(|driver| {
        let mut random = Random::new(5);
        let other = smp::listed() > 1;
        CHANGES.store(true, Ordering::Relaxed);
        if other {
            smp::begin(1, change_until_told);
        }
        let mut result = Ok(());
        for round in 0..3000u32 {
            if driver.is_broken() {
                result = driver.start();
                if result.is_err() {
                    break;
                }
            }
            // Never a write: what the disk holds stays. The head may become one, though, and is then as long as it says.
            head(IN, u64::from(round % 64));
            ring::chain(0, 0, &[(HEAD, 16, 0), (DATA, 512, WRITE), (STATUS, 1, WRITE)]);
            driver.offer(0);
            change(&mut random);
        }
        CHANGES.store(false, Ordering::Relaxed);
        if other {
            smp::end(1)?;
        }
        result?;
        driver.recovers()
    })
}

fn item_11_there_is_no_place_for_the_status() -> Outcome {
    each_disk(|driver| {
        let chains: [&[(u64, u32, u16)]; 4] = [
            &[(HEAD, 16, 0)],
            &[(HEAD, 16, 0), (STATUS, 1, 0)],
            &[(HEAD, 16, 0), (STATUS, 0, WRITE)],
            &[(STATUS, 1, WRITE), (HEAD, 16, 0)],
        ];
        for chain in chains {
            head(IN, 0);
            ring::chain(0, 0, chain);
            offer_wrong(driver, 0, "a request without a place for its status")?;
        }
        Ok(())
    })
}

fn item_11_sectors_are_not_on_the_disk() -> Outcome {
    each_disk(|driver| {
        let sectors = mmio::read(driver.registers.config, 8);
        for sector in [sectors, sectors - 1, u64::MAX, u64::MAX / 512, 1 << 55, 1 << 63] {
            for (kind, flags) in [(IN, WRITE), (OUT, 0)] {
                let status = request(driver, kind, sector, (DATA, 1024, flags))?;
                check_eq!(
                    status,
                    IO_ERROR,
                    "status of request {kind} for sector {sector:#x} of {sectors:#x}"
                );
            }
        }
        for len in [0, 1, 511, 513] {
            let status = request(driver, IN, 0, (DATA, len, WRITE))?;
            check_eq!(status, IO_ERROR, "status of a read of {len} bytes");
        }
        head(IN, 0);
        ring::chain(0, 0, &[(HEAD, 15, 0), (STATUS, 1, WRITE)]);
        let before = ring::used_index(0);
        driver.offer(0);
        await_used(driver, 0, before)?;
        check_eq!(load::<u8>(STATUS), IO_ERROR, "status of half a head");
        works(driver)
    })
}

fn item_12_a_reset_with_requests_under_way() -> Outcome {
    each_disk(|driver| {
        for round in 0..50u64 {
            driver.kick(0); // before
            read_much(round);
            (0..5).for_each(|n| driver.offer(3 * n));
            if round % 3 == 0 {
                time::wait_until(1, || ring::used_index(0) > 1);
            }
            driver.set_status(0);
            driver.kick(0); // and after
            driver.kick(1);
            driver.set_status(1); // an impatient driver
            check!(time::wait_until(PATIENCE, || driver.status() <= 1), "{driver} is never reset");
            // From now on nothing of before is written.
            ring::fill(DATA, 5 * u64::from(LARGE), 0x5a);
            ring::fill(ring::rings(0).used, 256, 0x5a);
            time::wait(1);
            let untouched =
                |at: u64, len: u64| (0..len / 8).all(|n| load::<u64>(at + 8 * n) == 0x5a5a_5a5a_5a5a_5a5a);
            check!(untouched(DATA, 5 * u64::from(LARGE)), "{driver} reads into memory after its reset");
            check!(untouched(ring::rings(0).used, 256), "{driver} writes its used ring after its reset");
            driver.recovers()?;
        }
        Ok(())
    })
}
