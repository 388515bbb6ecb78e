//! State: taken out of one machine, put into another, also under load; and states that cannot be.

use base::Record;
use engine::Width;

use crate::disk::RamDisk;
use crate::driver::*;
use crate::fronts::FRONTS;
use crate::requests::{DATA, HEAD, IN, OK, SIZE, STATUS, blk, head};

fn copy_memory(from: &Driver, to: &Driver) {
    let mut all = vec![0; RAM as usize];
    from.memory.read(base::GuestPhys(0), &mut all).unwrap();
    to.put(0, &all);
}

#[test]
fn every_front_goes_on_in_another_machine() {
    for (name, make) in FRONTS {
        for started in [false, true] {
            let first = Driver::new(make());
            if started {
                first.start(RING_EVENT_IDX, 8);
            }
            first.board.pause();
            let state = first.board.save();
            let second = Driver::standing(make());
            copy_memory(&first, &second);
            second.board.restore(&state).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(second.board.save().pci == state.pci, "{name}: it is saved as it was restored");
            second.board.resume();
            assert_eq!(second.status(), first.status(), "{name}");
            second.reset();
            second.start(0, 8);
        }
    }
}

#[test]
fn a_disk_under_load_is_saved_between_two_requests() {
    let disk = RamDisk::new(64);
    let first = Driver::new(blk(&disk));
    first.start(0, SIZE);
    for n in 0..5 {
        let at = DATA + u64::from(n) * 0x1000;
        first.chain(0, 3 * n, &[(HEAD, 16, 0), (at, 512, WRITE), (STATUS + u64::from(n), 1, WRITE)]);
    }
    head(&first, IN, 1);
    disk.hold(true);
    (0..3).for_each(|n| first.offer(0, SIZE, 3 * n));
    first.kick(0);
    wait("three requests", || disk.held() == 3);
    std::thread::scope(|scope| {
        let pause = scope.spawn(|| first.board.pause());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!pause.is_finished(), "it waits for what is under way");
        disk.hold(false);
    });
    assert_eq!(first.used_index(0), 3);
    // The guest stands, but a kick may be on its way.
    (3..5).for_each(|n| first.offer(0, SIZE, 3 * n));
    first.kick(0);
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(first.used_index(0), 3, "nothing moves while it stands");

    let second = Driver::standing(blk(&disk));
    copy_memory(&first, &second);
    second.board.restore(&first.board.save()).unwrap();
    assert_eq!(second.read(ISR, Width::Byte), 1, "the interrupt is still there");
    second.board.resume();
    second.await_used(0, 5);
    assert_eq!(second.get::<5>(STATUS), [OK; 5]);
}

fn device(driver: &Driver) -> Record {
    driver.board.save().pci[1].clone()
}

#[test]
fn states_that_cannot_be_are_refused() {
    let disk = RamDisk::new(64);
    let first = Driver::new(blk(&disk));
    first.start(0, SIZE);
    first.board.pause();
    let good = device(&first);
    let refuse = |record: &Record, why: &str| {
        let second = Driver::standing(blk(&disk));
        let mut state = first.board.save();
        state.pci[1] = record.clone();
        assert!(second.board.restore(&state).is_err(), "{why}");
    };
    let other = Driver::standing(blk(&RamDisk::new(65)));
    let mut state = first.board.save();
    assert!(other.board.restore(&state).is_err(), "another disk");
    state.pci[1] = device(&other);
    assert!(first.board.restore(&state).is_err(), "another disk's");
    // Any byte changed is refused or harmless.
    for at in 0..good.payload.len() {
        for bit in 0..8 {
            let mut record = good.clone();
            record.payload[at] ^= 1 << bit;
            let second = Driver::standing(blk(&disk));
            let mut state = first.board.save();
            state.pci[1] = record;
            if second.board.restore(&state).is_ok() {
                second.board.resume();
                second.board.pci.assign();
                second.kick(0);
                second.reset();
            }
        }
    }
    refuse(&Record { version: 2, ..good.clone() }, "a version to come");
    refuse(&Record { kind: "virtio".to_owned(), ..good.clone() }, "another kind");
    refuse(&Record { payload: good.payload[..good.payload.len() - 1].to_vec(), ..good }, "cut short");
}
