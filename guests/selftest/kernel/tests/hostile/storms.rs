//! Too much of everything.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::port;
use crate::hw::serial::{self, COM1};
use crate::smp;

use super::driver::Driver;
use super::proof::works;
use super::ring::{self, DATA};
use super::{each, mmio};

family!("hostile": item_13_kicks, item_13_resets, item_13_a_flood_on_the_serial_port);

/// The notification registers that all CPUs kick, and how many there are.
static TARGET: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

fn kick_all(_: usize) {
    let [at, step, count] = [0, 1, 2].map(|n| TARGET[n].load(Ordering::Relaxed));
    for n in 0..100_000 {
        let queue = n % count;
        mmio::write(at + queue * step, 2, queue);
    }
}

fn item_13_kicks() -> Outcome {
    if smp::listed() > 1 {
        smp::online()?;
    }
    each(|driver| {
        storm(driver)?;
        works(driver)?;
        // And of a device that is not in use.
        driver.reset()?;
        storm(driver)?;
        driver.recovers()
    })
}

fn storm(driver: &Driver) -> Outcome {
    let registers = driver.registers;
    // A queue more than there are.
    let queues = u64::from(driver.queues()) + 1;
    for (cell, value) in TARGET.iter().zip([registers.notify, registers.step, queues]) {
        cell.store(value, Ordering::Relaxed);
    }
    if smp::listed() > 1 {
        smp::all(kick_all)?;
    } else {
        kick_all(0);
    }
    check!(!driver.is_broken(), "{driver} breaks in a storm of kicks");
    Ok(())
}

fn item_13_resets() -> Outcome {
    each(|driver| {
        for _ in 0..300 {
            driver.start()?;
            driver.kick(driver.eager_queue());
            driver.set_status(0);
        }
        driver.recovers()
    })
}

/// 24 MiB, as fast as they go: more than the log of a machine may hold.
fn item_13_a_flood_on_the_serial_port() -> Outcome {
    const LINE: u64 = 64;
    ring::fill(DATA, 1 << 20, b'~');
    for n in 0..(1 << 20) / LINE {
        crate::tests::memory::store(DATA + LINE * n + LINE - 1, b'\n');
    }
    for _ in 0..24 {
        // SAFETY: reads memory of the tests.
        unsafe {
            asm!("rep outsb", inout("rcx") 1 << 20 => _, inout("rsi") DATA => _, in("dx") COM1, options(nostack));
        }
    }
    // The transmitter is drained in the end.
    check!(
        crate::hw::time::wait_until(60_000, || port::read8(COM1 + 5) & 0x40 != 0),
        "COM1 is never empty again"
    );
    serial::start();
    // What the transmitter had no room for is lost, perhaps the last line's end.
    say!("");
    Ok(())
}
