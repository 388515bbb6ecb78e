//! What a disk does for a driver that does everything right.

use engine::Width;
use ringfence_virtio::back::{Op, SECTOR};
use ringfence_virtio::{Blk, Device};

use crate::disk::RamDisk;
use crate::driver::*;

pub const IN: u32 = 0;
pub const OUT: u32 = 1;
pub const FLUSH: u32 = 4;
pub const GET_ID: u32 = 8;
pub const DISCARD: u32 = 11;
pub const WRITE_ZEROES: u32 = 13;
pub const OK: u8 = 0;
pub const IO_ERROR: u8 = 1;
pub const UNSUPPORTED: u8 = 2;
const FEATURE_FLUSH: u64 = 1 << 9;
pub const SIZE: u16 = 16;

/// Where requests are: head, status, data.
pub const HEAD: u64 = 0x20_0000;
pub const STATUS: u64 = 0x20_1000;
pub const DATA: u64 = 0x20_2000;

pub fn blk(disk: &RamDisk) -> Box<dyn Device> {
    Box::new(Blk::new(Box::new(disk.clone()), 2, "a disk"))
}

pub fn head(driver: &Driver, kind: u32, sector: u64) {
    driver.put(HEAD, &kind.to_le_bytes());
    driver.put(HEAD + 8, &sector.to_le_bytes());
    driver.put(STATUS, &[0xee]);
}

/// One request on queue 0: its status, and the length in the used ring.
pub fn request(driver: &Driver, kind: u32, sector: u64, data: &[(u64, u32, u16)]) -> (u8, u32) {
    head(driver, kind, sector);
    let buffers = [&[(HEAD, 16, 0)], data, &[(STATUS, 1, WRITE)]].concat();
    driver.chain(0, 0, &buffers);
    let before = driver.used_index(0);
    driver.offer(0, SIZE, 0);
    driver.kick(0);
    driver.await_used(0, before.wrapping_add(1));
    let (head, len) = driver.used(0, SIZE, before);
    assert_eq!(head, 0);
    (driver.get::<1>(STATUS)[0], len)
}

#[test]
fn a_disk_is_written_and_read() {
    let disk = RamDisk::new(64);
    let driver = Driver::new(blk(&disk));
    driver.start(FEATURE_FLUSH, SIZE);
    driver.fill(DATA, SECTOR, 0xa1);
    driver.fill(DATA + 0x1000, SECTOR, 0xb2);
    let out = [(DATA, 512, 0), (DATA + 0x1000, 256, 0), (DATA + 0x1100, 256, 0)];
    assert_eq!(request(&driver, OUT, 5, &out), (OK, 1));
    assert_eq!(disk.bytes()[5 * 512..7 * 512], [[0xa1; 512], [0xb2; 512]].concat());
    let back = [(DATA + 0x2000, 100, WRITE), (DATA + 0x2064, 924, WRITE)];
    assert_eq!(request(&driver, IN, 5, &back), (OK, 1025));
    assert_eq!(driver.get::<1024>(DATA + 0x2000)[..], disk.bytes()[5 * 512..7 * 512]);
    assert_eq!(request(&driver, FLUSH, 0, &[]), (OK, 1));
    assert_eq!(disk.log().last(), Some(&(Op::Flush, 0, 0)));
    assert_eq!(driver.read(ISR, Width::Byte), 1, "and it has interrupted");
    assert_eq!(driver.read(ISR, Width::Byte), 0, "which reading answers");
}

#[test]
fn a_driver_that_does_not_flush_gets_durable_writes() {
    let disk = RamDisk::new(64);
    let driver = Driver::new(blk(&disk));
    driver.start(0, SIZE);
    assert_eq!(request(&driver, OUT, 1, &[(DATA, 512, 0)]), (OK, 1));
    assert_eq!(request(&driver, IN, 1, &[(DATA, 512, WRITE)]), (OK, 513));
    assert_eq!(disk.log(), [(Op::Write, 1, 1), (Op::Flush, 0, 0), (Op::Read, 1, 1)]);
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    let disk = RamDisk::new(64);
    let driver = Driver::new(blk(&disk));
    driver.start(FEATURE_FLUSH | 1 << 13 | 1 << 14, SIZE);
    let range = |n: u64, sector: u64, sectors: u32, flags: u32| {
        driver.put(DATA + 16 * n, &sector.to_le_bytes());
        driver.put(DATA + 16 * n + 8, &sectors.to_le_bytes());
        driver.put(DATA + 16 * n + 12, &flags.to_le_bytes());
    };
    range(0, 1, 2, 0);
    range(1, 10, 54, 0);
    assert_eq!(request(&driver, DISCARD, 0, &[(DATA, 32, 0)]), (OK, 1));
    range(0, 3, 1, 1);
    assert_eq!(request(&driver, WRITE_ZEROES, 0, &[(DATA, 16, 0)]), (OK, 1));
    let zeroes = Op::WriteZeroes { unmap: true };
    assert_eq!(disk.log(), [(Op::Discard, 1, 2), (Op::Discard, 10, 54), (zeroes, 3, 1)]);
    range(1, 10, 55, 0);
    assert_eq!(
        request(&driver, DISCARD, 0, &[(DATA, 32, 0)]).0,
        UNSUPPORTED,
        "a flag that is not a discard's"
    );
    range(0, 3, 1, 0);
    assert_eq!(request(&driver, DISCARD, 0, &[(DATA, 32, 0)]).0, IO_ERROR, "beyond the end");
    for (len, why) in [(0, "none"), (15, "not whole"), (33 * 16, "too many")] {
        assert_eq!(request(&driver, DISCARD, 0, &[(DATA, len, 0)]).0, IO_ERROR, "{why}");
    }
    assert_eq!(disk.log().len(), 3, "all or nothing");
}

#[test]
fn the_configuration_and_the_serial_number_tell_what_it_is() {
    let mut disk = RamDisk::new(64);
    disk.facts.serial = "a serial number that is too long".to_owned();
    disk.facts.topology.block_size = 4096;
    disk.facts.read_only = true;
    let driver = Driver::new(blk(&disk));
    driver.start(1 << 5, SIZE);
    assert_eq!(driver.offered() & (1 << 5 | 1 << 13 | 1 << 14), 1 << 5);
    assert_eq!(driver.read(DEVICE, Width::Qword), 64);
    assert_eq!((driver.read(DEVICE + 20, Width::Dword), driver.read(DEVICE + 34, Width::Word)), (4096, 2));
    assert_eq!(request(&driver, GET_ID, 0, &[(DATA, 20, WRITE)]), (OK, 21));
    assert_eq!(&driver.get::<20>(DATA), b"a serial number that");
    assert_eq!(request(&driver, GET_ID, 0, &[(DATA, 19, WRITE)]).0, IO_ERROR);
    assert_eq!(request(&driver, OUT, 0, &[(DATA, 4096, 0)]).0, IO_ERROR, "read-only");
    assert_eq!(request(&driver, DISCARD, 0, &[(DATA, 16, 0)]).0, UNSUPPORTED);
    assert_eq!(request(&driver, IN, 1, &[(DATA, 4096, WRITE)]).0, IO_ERROR, "no block begins there");
    assert_eq!(request(&driver, IN, 8, &[(DATA, 4096, WRITE)]).0, OK);
    assert_eq!(request(&driver, 99, 0, &[]).0, UNSUPPORTED);
    assert_eq!(disk.log(), [(Op::Read, 8, 8)]);
}

#[test]
fn a_back_end_that_is_full_gets_the_rest_later() {
    let disk = RamDisk::new(64);
    let driver = Driver::new(blk(&disk));
    driver.start(FEATURE_FLUSH, SIZE);
    disk.limit(3);
    disk.hold(true);
    head(&driver, IN, 9);
    for n in 0..5 {
        let at = DATA + u64::from(n) * 0x1000;
        driver.chain(0, 3 * n, &[(HEAD, 16, 0), (at, 512, WRITE), (STATUS + u64::from(n), 1, WRITE)]);
        driver.offer(0, SIZE, 3 * n);
    }
    driver.kick(0);
    wait("the back-end to fill", || disk.held() == 3);
    disk.hold(false);
    driver.await_used(0, 5);
    assert_eq!(disk.log(), [(Op::Read, 9, 1); 5]);
    assert_eq!(driver.get::<5>(STATUS), [OK; 5]);
}

#[test]
fn interrupts_come_by_message_when_the_guest_wants_them_so() {
    let disk = RamDisk::new(64);
    let driver = Driver::new(blk(&disk));
    let table = 0x4000;
    driver.write(table + 16 + 8, Width::Qword, 0x55); // vector 1: data, not masked
    driver.write(table + 16, Width::Qword, 0xfee0_0000);
    let pci = &driver.board.pci;
    let mut at = pci.config_read(driver.slot, 0x34, Width::Byte) as u8;
    while pci.config_read(driver.slot, at, Width::Byte) != 0x11 {
        at = pci.config_read(driver.slot, at + 1, Width::Byte) as u8;
    }
    pci.config_write(driver.slot, at + 2, Width::Word, 0xc000); // on, all masked
    assert!(driver.negotiate(VERSION_1));
    driver.set_up(0, SIZE, Driver::rings(0));
    driver.write(COMMON + 26, Width::Word, 1);
    driver.set_status(1 | 2 | FEATURES_OK | DRIVER_OK);
    assert_eq!(request(&driver, IN, 1, &[(DATA, 512, WRITE)]).0, OK);
    wait("the vector", || driver.read(0x5000, Width::Byte) == 2);
    assert_eq!(driver.read(ISR, Width::Byte), 0);
    pci.config_write(driver.slot, at + 2, Width::Word, 0x8000);
    assert_eq!(driver.read(0x5000, Width::Byte), 0, "sent when the mask went");
}
