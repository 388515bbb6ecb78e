//! The right to be bus master (PCI 3.0, 6.2.2): a device without it touches no memory and sends no message, and does
//! later what it was told meanwhile.

use std::time::Duration;

use engine::Width;
use ringfence_virtio::Rng;

use crate::disk::RamDisk;
use crate::driver::*;
use crate::fronts::FRONTS;
use crate::requests::{DATA, HEAD, IN, OK, SIZE, STATUS, blk, head};

const MSIX_TABLE: u64 = 0x4000;
const MSIX_PENDING: u64 = 0x5000;

fn command(driver: &Driver, value: u32) {
    driver.board.pci.config_write(driver.slot, COMMAND, Width::Word, value);
}

fn all_memory(driver: &Driver) -> Vec<u8> {
    let mut all = vec![0; RAM as usize];
    driver.memory.read(base::GuestPhys(0), &mut all).unwrap();
    all
}

/// Long enough for a device's thread to do what it must not.
fn a_while() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A buffer on every queue, which the device reads on those with odd numbers and else writes, and a kick of each.
fn offer_everywhere(driver: &Driver) {
    for queue in 0..driver.queues() {
        let at = DATA + 0x1000 * u64::from(queue);
        driver.chain(queue, 0, &[(at, 256, if queue % 2 == 0 { WRITE } else { 0 })]);
        driver.offer(queue, 8, 0);
    }
    (0..driver.queues()).for_each(|queue| driver.kick(queue));
}

#[test]
fn no_front_touches_memory_without_it() {
    for (name, make) in FRONTS {
        let driver = Driver::new(make());
        command(&driver, MEMORY);
        driver.start(0, 8);
        offer_everywhere(&driver);
        let before = all_memory(&driver);
        a_while();
        // Not after a pause either, which kicks all queues.
        driver.board.pause();
        driver.board.resume();
        a_while();
        assert!(all_memory(&driver) == before, "{name}: memory was touched");
        // The used ring says at least whether the driver is to kick.
        command(&driver, MEMORY | MASTER);
        wait(name, || all_memory(&driver) != before);
    }
}

#[test]
fn a_kick_without_it_is_remembered() {
    let driver = Driver::new(Box::new(Rng::default()));
    driver.start(0, 8);
    for round in 0..3 {
        command(&driver, MEMORY);
        driver.fill(DATA, 16, 0);
        driver.chain(0, 0, &[(DATA, 16, WRITE)]);
        driver.offer(0, 8, 0);
        driver.kick(0);
        a_while();
        assert_eq!((driver.used_index(0), driver.get::<16>(DATA)), (round, [0; 16]));
        command(&driver, MEMORY | MASTER);
        driver.await_used(0, round + 1);
        assert_ne!(driver.get::<16>(DATA), [0; 16]);
    }
}

#[test]
fn taking_it_waits_for_what_is_under_way_and_its_message_waits() {
    let disk = RamDisk::new(64);
    let driver = Driver::new(blk(&disk));
    let pci = &driver.board.pci;
    // Vector 1 for queue 0, not masked.
    driver.write(MSIX_TABLE + 16, Width::Qword, 0xfee0_0000);
    driver.write(MSIX_TABLE + 16 + 8, Width::Qword, 0x55);
    let mut msix = pci.config_read(driver.slot, 0x34, Width::Byte) as u8;
    while pci.config_read(driver.slot, msix, Width::Byte) != 0x11 {
        msix = pci.config_read(driver.slot, msix + 1, Width::Byte) as u8;
    }
    pci.config_write(driver.slot, msix + 2, Width::Word, 0x8000);
    assert!(driver.negotiate(VERSION_1));
    driver.set_up(0, SIZE, Driver::rings(0));
    driver.write(COMMON + 26, Width::Word, 1);
    driver.set_status(1 | 2 | FEATURES_OK | DRIVER_OK);
    head(&driver, IN, 1);
    for n in 0..2u16 {
        let at = DATA + u64::from(n) * 0x1000;
        driver.chain(0, 3 * n, &[(HEAD, 16, 0), (at, 512, WRITE), (STATUS + u64::from(n), 1, WRITE)]);
    }
    disk.hold(true);
    driver.offer(0, SIZE, 0);
    driver.kick(0);
    wait("the request", || disk.held() == 1);
    std::thread::scope(|scope| {
        let take = scope.spawn(|| command(&driver, MEMORY));
        a_while();
        assert!(!take.is_finished(), "the disk still reads into memory");
        driver.offer(0, SIZE, 3);
        driver.kick(0);
        disk.hold(false);
    });
    assert_eq!((driver.used_index(0), driver.get::<2>(STATUS)), (1, [OK, 0]));
    assert_eq!(driver.read(MSIX_PENDING, Width::Byte), 2, "its message waits");
    let before = all_memory(&driver);
    a_while();
    assert!(all_memory(&driver) == before);

    // So it is in a machine that goes on with the state.
    driver.board.pause();
    let state = driver.board.save();
    let other = Driver::standing(blk(&disk));
    other.put(0, &before);
    other.board.restore(&state).unwrap();
    assert!(other.board.save().pci == state.pci);
    other.board.resume();
    a_while();
    assert!(all_memory(&other) == before);
    assert_eq!(other.read(MSIX_PENDING, Width::Byte), 2);
    command(&other, MEMORY | MASTER);
    assert_eq!(other.read(MSIX_PENDING, Width::Byte), 0, "sent");
    other.await_used(0, 2);
    assert_eq!(other.get::<2>(STATUS), [OK; 2]);
}

#[test]
fn a_reset_of_the_machine_takes_it() {
    let driver = Driver::new(Box::new(Rng::default()));
    driver.start(0, 8);
    driver.board.reset();
    assert_eq!(driver.board.pci.config_read(driver.slot, COMMAND, Width::Word) & MASTER, 0);
    driver.board.pci.assign();
    driver.board.resume();
    driver.start(0, 8);
    driver.chain(0, 0, &[(DATA, 16, WRITE)]);
    driver.offer(0, 8, 0);
    driver.kick(0);
    a_while();
    assert_eq!(driver.used_index(0), 0);
    command(&driver, MEMORY | MASTER);
    driver.await_used(0, 1);
}
