//! What hostile drivers try; the numbers are those of the list that this follows. Whatever happens, the device says that
//! it needs a reset or answers with an error, and works again after the reset.

use engine::Width;
use ringfence_virtio::back::Op;

use crate::disk::RamDisk;
use crate::driver::*;
use crate::fronts::FRONTS;
use crate::requests::{DATA, HEAD, IN, IO_ERROR, OK, OUT, SIZE, STATUS, blk, head, request};

/// A disk whose driver has read a sector without trouble.
fn disk() -> (RamDisk, Driver) {
    let disk = RamDisk::new(64);
    let driver = Driver::new(blk(&disk));
    driver.start(RING_INDIRECT_DESC, SIZE);
    assert_eq!(request(&driver, IN, 0, &[(DATA, 512, WRITE)]), (OK, 513));
    (disk, driver)
}

/// The device has noticed; after a reset it works.
fn recovers(driver: &Driver) {
    driver.await_mistake();
    driver.start(RING_INDIRECT_DESC, SIZE);
    assert_eq!(request(driver, IN, 0, &[(DATA, 512, WRITE)]), (OK, 513));
}

fn offer(driver: &Driver, head: u16) {
    driver.offer(0, SIZE, head);
    driver.kick(0);
}

fn describe(driver: &Driver, index: u16, descriptor: Descriptor) {
    driver.describe(Driver::rings(0)[0], index, descriptor);
}

#[test]
fn item_1_a_chain_loops() {
    let (_, driver) = disk();
    describe(&driver, 0, (HEAD, 16, NEXT, 1));
    describe(&driver, 1, (DATA, 512, NEXT, 0));
    offer(&driver, 0);
    recovers(&driver);
    describe(&driver, 3, (DATA, 512, NEXT, 3));
    offer(&driver, 3);
    recovers(&driver);
}

#[test]
fn item_2_an_index_is_out_of_range() {
    let (_, driver) = disk();
    describe(&driver, 0, (HEAD, 16, NEXT, SIZE));
    offer(&driver, 0);
    recovers(&driver);
    for head in [SIZE, 0xffff] {
        offer(&driver, head);
        recovers(&driver);
    }
}

#[test]
fn item_3_buffers_are_not_ram() {
    let (disk, driver) = disk();
    let done = disk.log().len();
    for (at, len) in [
        (u64::MAX - 7, 512),
        (RAM - 256, 512),
        (RAM, 512),
        (0xc000_0000, 512),
        (0xfee0_0000, 512),
        (0x1_0000_0000, 512),
        (1 << 63, 512),
    ] {
        driver.chain(0, 0, &[(HEAD, 16, 0), (at, len, WRITE), (STATUS, 1, WRITE)]);
        head(&driver, IN, 0);
        offer(&driver, 0);
        recovers(&driver);
    }
    let _ = disk.log()[done..].iter().map(|(op, ..)| assert_eq!(*op, Op::Read)).count();
}

#[test]
fn item_4_a_chain_has_more_than_4_gib() {
    let (_, driver) = disk();
    // The same piece of RAM again and again, in an indirect table.
    let table = 0x28_0000;
    let entries = 1024;
    for n in 0..entries {
        driver.describe(table, n, (0, RAM as u32, WRITE | NEXT, n + 1));
    }
    describe(&driver, 0, (table, 16 * u32::from(entries), INDIRECT, 0));
    offer(&driver, 0);
    recovers(&driver);
}

#[test]
fn item_5_buffers_are_the_rings_themselves() {
    let (_, driver) = disk();
    let [table, available, used] = Driver::rings(0);
    for at in [table, available, used] {
        driver.chain(0, 0, &[(HEAD, 16, 0), (at, 512, WRITE), (STATUS, 1, WRITE)]);
        head(&driver, IN, 0);
        offer(&driver, 0);
        // Any answer will do, and none: the driver has broken its own rings. It gets new ones by a reset.
        driver.start(RING_INDIRECT_DESC, SIZE);
        assert_eq!(request(&driver, IN, 0, &[(DATA, 512, WRITE)]), (OK, 513));
    }
    // A status that is the used ring's flags.
    driver.chain(0, 0, &[(HEAD, 16, 0), (DATA, 512, WRITE), (used, 1, WRITE)]);
    head(&driver, IN, 0);
    offer(&driver, 0);
    driver.start(RING_INDIRECT_DESC, SIZE);
    assert_eq!(request(&driver, IN, 0, &[(DATA, 512, WRITE)]), (OK, 513));
}

#[test]
fn item_6_a_queue_is_described_anew_while_it_is_used() {
    let (_, driver) = disk();
    driver.set_up(0, 4, [0x30_0000, 0x30_1000, 0x30_2000]);
    assert_eq!(driver.queue_size(0), SIZE);
    assert_eq!(driver.read(COMMON + 32, Width::Dword), Driver::rings(0)[0]);
    driver.write(COMMON + 28, Width::Word, 0);
    assert_eq!(driver.read(COMMON + 28, Width::Word), 1);
    assert_eq!(request(&driver, IN, 1, &[(DATA, 512, WRITE)]), (OK, 513));
}

#[test]
fn item_7_queues_cannot_be() {
    for (name, make) in FRONTS {
        let driver = Driver::new(make());
        let most = driver.queue_size(0);
        let good = Driver::rings(0);
        let [table, available, used] = good;
        let sizes = [0, 3, most + 1, most.wrapping_mul(2), 0x8000, 0xffff].map(|size| (size, good));
        let places = [
            [table + 8, available, used],
            [table, available + 1, used],
            [table, available, used + 2],
            [RAM - 16, available, used],
            [table, RAM, used],
            [table, available, RAM - 8],
            [!15, available, used],
            [table, !1, used],
            [table, available, !3],
            [0xfee0_0000, available, used],
        ];
        for (size, rings) in sizes.into_iter().chain(places.map(|rings| (4, rings))) {
            assert!(driver.negotiate(VERSION_1), "{name}");
            driver.set_up(0, size, rings);
            driver.set_status(1 | 2 | FEATURES_OK | DRIVER_OK);
            assert_eq!(driver.status() & NEEDS_RESET, NEEDS_RESET, "{name}: {size} {rings:x?}");
            driver.kick(0);
        }
        // All at one place: nobody but the driver is harmed, and it may even see an answer.
        assert!(driver.negotiate(VERSION_1), "{name}");
        driver.set_up(0, 4, [table; 3]);
        driver.set_status(1 | 2 | FEATURES_OK | DRIVER_OK);
        driver.kick(0);
        driver.start(0, 4);
        assert_eq!(driver.status() & NEEDS_RESET, 0, "{name}");
    }
}

#[test]
fn item_8_the_index_jumps_or_runs_backwards() {
    let (_, driver) = disk();
    for index in [0x8000, 0, SIZE + 2] {
        driver.set_index(0, index);
        driver.kick(0);
        recovers(&driver);
    }
}

#[test]
fn item_8_a_head_is_offered_twice() {
    let (disk, driver) = disk();
    disk.hold(true);
    driver.chain(0, 0, &[(HEAD, 16, 0), (DATA, 512, WRITE), (STATUS, 1, WRITE)]);
    head(&driver, IN, 3);
    driver.offer(0, SIZE, 0);
    offer(&driver, 0);
    wait("both", || disk.held() == 2);
    disk.hold(false);
    driver.await_used(0, 3);
    assert_eq!([driver.used(0, SIZE, 1), driver.used(0, SIZE, 2)], [(0, 513), (0, 513)]);
}

/// More chains than the queue has entries, by an index that is moved on while they are out.
#[test]
fn item_8_more_is_offered_than_the_queue_holds() {
    let (disk, driver) = disk();
    disk.hold(true);
    driver.chain(0, 0, &[(HEAD, 16, 0), (DATA, 512, WRITE), (STATUS, 1, WRITE)]);
    (0..SIZE).for_each(|_| offer(&driver, 0));
    wait("a full queue", || disk.held() == usize::from(SIZE));
    offer(&driver, 0);
    driver.await_mistake();
    assert_eq!(disk.held(), usize::from(SIZE), "what is out is bounded");
    disk.hold(false);
    recovers(&driver);
}

#[test]
fn item_9_indirect_tables_are_wrong() {
    let (_, driver) = disk();
    let table = 0x28_0000;
    let tables: [(&str, &[Descriptor], u32); 7] = [
        ("nested", &[(table, 16, INDIRECT, 0)], 16),
        ("looped", &[(HEAD, 16, NEXT, 1), (DATA, 512, NEXT, 0)], 32),
        ("of odd length", &[(HEAD, 16, 0, 0)], 17),
        ("empty", &[], 0),
        ("shorter than its chain", &[(HEAD, 16, NEXT, 1)], 16),
        ("longer than any table", &[(HEAD, 16, NEXT, 0)], 0xffff_fff0),
        ("beyond RAM", &[], 16 * 0xffff),
    ];
    for (what, entries, len) in tables {
        (0..).zip(entries).for_each(|(n, entry)| driver.describe(table, n, *entry));
        let at = if what == "beyond RAM" { RAM - 8 } else { table };
        describe(&driver, 0, (at, len, INDIRECT, 0));
        offer(&driver, 0);
        driver.await_mistake();
        recovers(&driver);
    }
    driver.start(0, SIZE); // not negotiated
    describe(&driver, 0, (table, 16, INDIRECT, 0));
    offer(&driver, 0);
    recovers(&driver);
}

#[test]
fn item_9_a_right_one_is_right() {
    let (disk, driver) = disk();
    let table = 0x28_0000;
    driver.describe(table, 0, (HEAD, 16, NEXT, 2));
    driver.describe(table, 2, (DATA, 1024, NEXT | WRITE, 1));
    driver.describe(table, 1, (STATUS, 1, WRITE, 0));
    head(&driver, IN, 7);
    describe(&driver, 5, (table, 48, INDIRECT, 0));
    offer(&driver, 5);
    driver.await_used(0, 2);
    assert_eq!((driver.used(0, SIZE, 1), driver.get::<1>(STATUS)), ((5, 1025), [OK]));
    assert_eq!(disk.log().last(), Some(&(Op::Read, 7, 2)));
}

/// The head says one thing when it is read and another afterwards: what was read is what is done.
#[test]
fn item_10_a_request_is_changed_after_the_kick() {
    let (disk, driver) = disk();
    disk.hold(true);
    driver.chain(0, 0, &[(HEAD, 16, 0), (DATA, 512, WRITE), (STATUS, 1, WRITE)]);
    head(&driver, IN, 9);
    offer(&driver, 0);
    wait("the request", || disk.held() == 1);
    head(&driver, OUT, u64::MAX);
    driver.fill(Driver::rings(0)[0], 48, 0xff);
    disk.hold(false);
    driver.await_used(0, 2);
    assert_eq!((disk.log().last(), driver.get::<1>(STATUS)), (Some(&(Op::Read, 9, 1)), [OK]));

    // And by the thousand, from another thread, at any moment.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 1u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = Driver::rings(0)[0] + (random >> 33) % 48;
                driver.put(at, &[(random >> 50) as u8]);
                driver.put(HEAD + (random >> 40) % 16, &[(random >> 56) as u8]);
            }
        });
        for _ in 0..2000 {
            if driver.status() & NEEDS_RESET != 0 {
                driver.start(RING_INDIRECT_DESC, SIZE);
            }
            driver.chain(0, 0, &[(HEAD, 16, 0), (DATA, 512, WRITE), (STATUS, 1, WRITE)]);
            offer(&driver, 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    driver.start(RING_INDIRECT_DESC, SIZE);
    assert_eq!(request(&driver, IN, 0, &[(DATA, 512, WRITE)]), (OK, 513));
}

#[test]
fn item_11_there_is_no_place_for_the_status() {
    let (_, driver) = disk();
    head(&driver, IN, 0);
    for buffers in
        [&[(HEAD, 16, 0)][..], &[(HEAD, 16, 0), (STATUS, 1, 0)], &[(HEAD, 16, 0), (STATUS, 0, WRITE)]]
    {
        driver.chain(0, 0, buffers);
        offer(&driver, 0);
        recovers(&driver);
        head(&driver, IN, 0);
    }
    driver.chain(0, 0, &[(STATUS, 1, WRITE), (HEAD, 16, 0)]);
    offer(&driver, 0);
    recovers(&driver);
}

#[test]
fn item_11_sectors_are_not_on_the_disk() {
    let (disk, driver) = disk();
    let done = disk.log().len();
    for (sector, len) in [(64, 512), (63, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (1 << 55, 512)] {
        assert_eq!(request(&driver, IN, sector, &[(DATA, len, WRITE)]), (IO_ERROR, 1), "{sector}");
        assert_eq!(request(&driver, OUT, sector, &[(DATA, len, 0)]), (IO_ERROR, 1), "{sector}");
    }
    for len in [0, 1, 511, 513] {
        assert_eq!(request(&driver, IN, 0, &[(DATA, len, WRITE)]), (IO_ERROR, 1), "{len} bytes");
    }
    let short = [(HEAD, 15, 0), (STATUS, 1, WRITE)];
    driver.chain(0, 0, &short);
    let before = driver.used_index(0);
    offer(&driver, 0);
    driver.await_used(0, before + 1);
    assert_eq!(driver.get::<1>(STATUS), [IO_ERROR], "half a head");
    assert_eq!(disk.log().len(), done);
}

#[test]
fn item_12_a_reset_with_requests_under_way() {
    let (disk, driver) = disk();
    for round in 0..20 {
        disk.hold(true);
        driver.chain(0, 0, &[(HEAD, 16, 0), (DATA, 512, WRITE), (STATUS, 1, WRITE)]);
        head(&driver, IN, 2);
        driver.kick(0); // before
        (0..4).for_each(|_| offer(&driver, 0));
        wait("the requests", || disk.held() == 4);
        driver.set_status(0);
        driver.kick(0); // and after
        driver.kick(1);
        if round % 2 == 0 {
            assert_ne!(driver.status(), 0, "not before they have come back");
            driver.set_status(1); // an impatient driver is not heard
        }
        disk.hold(false);
        wait("the reset", || driver.status() == 0);
        let used = driver.used_index(0);
        driver.start(0, SIZE);
        assert_eq!(driver.used_index(0), 0, "nothing of before, {used} then");
        assert_eq!(request(&driver, IN, 0, &[(DATA, 512, WRITE)]), (OK, 513));
    }
}

#[test]
fn item_13_a_storm_of_kicks() {
    for (name, make) in FRONTS {
        let driver = Driver::new(make());
        for queue in 0..=255 {
            driver.kick(queue);
        }
        driver.start(0, 8);
        for _ in 0..100_000 {
            driver.kick(0);
        }
        assert_eq!(driver.status() & NEEDS_RESET, 0, "{name}");
        driver.reset();
    }
}
