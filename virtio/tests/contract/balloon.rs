//! Memory that comes and goes.

use engine::Width;
use ringfence_virtio::{Balloon, BalloonHandle};

use crate::driver::*;

const STATISTICS: u64 = 1 << 1;
const REPORTING: u64 = 1 << 5;
const SIZE: u16 = 16;
const PAGES: u64 = 0x20_0000;
const NAMES: u64 = 0x30_0000;

fn balloon() -> (BalloonHandle, Driver) {
    let (balloon, handle) = Balloon::new().unwrap();
    (handle, Driver::new(Box::new(balloon)))
}

fn offer(driver: &Driver, queue: u16, buffers: &[(u64, u32, u16)]) {
    driver.chain(queue, 0, buffers);
    driver.offer(queue, SIZE, 0);
    driver.kick(queue);
}

#[test]
fn pages_that_are_named_are_given_back() {
    let (handle, driver) = balloon();
    driver.start(0, SIZE);
    driver.fill(PAGES, 0x3000, 0x55);
    handle.set_target(3 * 4096 + 5);
    wait("the news", || driver.read(ISR, Width::Byte) & 2 != 0);
    assert_eq!(driver.read(DEVICE, Width::Dword), 3);
    let names = [PAGES >> 12, (PAGES >> 12) + 2, 0xc_0000, 0xffff_ffff].map(|page| page as u32);
    driver.put(NAMES, &names.map(u32::to_le_bytes).concat());
    driver.memory.watch().start_dirty_log();
    offer(&driver, 0, &[(NAMES, 16, 0)]);
    driver.await_used(0, 1);
    assert_eq!([0, 0x1000, 0x2000].map(|at| driver.get::<1>(PAGES + at)[0]), [0, 0x55, 0]);
    let dirty = driver.memory.watch().take_dirty();
    assert!(dirty.contains(&((PAGES >> 12) as usize)), "what is zero now was written");
    driver.write(DEVICE + 4, Width::Dword, 2);
    assert_eq!(handle.actual(), 8192);
    offer(&driver, 1, &[(NAMES, 8, 0)]);
    driver.await_used(1, 1);
    driver.fill(NAMES, 0x8000, 0);
    offer(&driver, 0, &[(NAMES, 0x4004, 0)]);
    driver.await_mistake();
    driver.reset();
    assert_eq!(handle.actual(), 0);
}

#[test]
fn statistics_are_asked_for_and_heard() {
    let (handle, driver) = balloon();
    driver.start(STATISTICS, SIZE);
    let tell = |free: u64| {
        driver.put(NAMES, &[&4u16.to_le_bytes()[..], &free.to_le_bytes(), &[5, 0], &[1; 8]].concat());
        offer(&driver, 2, &[(NAMES, 20, 0)]);
        wait("the statistics", || handle.statistics().get(4) == Some(free));
    };
    tell(1000);
    assert_eq!(handle.statistics().get(6), None);
    assert_eq!(driver.used_index(2), 0, "the chain is kept");
    handle.refresh();
    driver.await_used(2, 1);
    tell(2000);
    driver.board.pause();
    let state = driver.board.save();
    let (copy, copied) = Balloon::new().unwrap();
    let second = Driver::standing(Box::new(copy));
    let mut all = vec![0; RAM as usize];
    driver.memory.read(base::GuestPhys(0), &mut all).unwrap();
    second.put(0, &all);
    second.board.restore(&state).unwrap();
    second.board.resume();
    copied.refresh();
    second.await_used(2, 2);
}

#[test]
fn pages_that_are_free_are_reported() {
    for (features, queue) in [(REPORTING, 2), (STATISTICS | REPORTING, 3)] {
        let (_, driver) = balloon();
        driver.start(features, SIZE);
        driver.fill(PAGES, 0x4000, 0x77);
        // Whole pages go; what is around them stays.
        offer(&driver, queue, &[(PAGES + 0x800, 0x2000, WRITE), (PAGES + 0x3000, 0x800, WRITE)]);
        driver.await_used(queue, 1);
        let left = [0, 0x1000, 0x2000, 0x3000].map(|at| driver.get::<1>(PAGES + at)[0]);
        assert_eq!(left, [0x77, 0, 0x77, 0x77]);
    }
}
