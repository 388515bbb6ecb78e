//! Features, status, configuration: every front alike.

use engine::Width;

use crate::driver::*;
use crate::fronts::FRONTS;

#[test]
fn capabilities_lead_to_the_registers() {
    for (name, make) in FRONTS {
        let driver = Driver::new(make());
        let config = |register: u8, width| driver.board.pci.config_read(driver.slot, register, width);
        assert_eq!(config(0, Width::Word), 0x1af4, "{name}");
        assert!((0x1041..0x1080).contains(&config(2, Width::Word)), "{name}");
        let (mut at, mut kinds, mut msix) = (config(0x34, Width::Byte) as u8, vec![], 0);
        while at != 0 {
            match config(at, Width::Byte) {
                9 => kinds.push(config(at + 3, Width::Byte)),
                0x11 => msix = config(at + 2, Width::Word) + 1,
                other => panic!("{name}: capability {other:#x}"),
            }
            at = config(at + 1, Width::Byte) as u8;
        }
        kinds.sort();
        assert_eq!(kinds, [1, 2, 3, 4, 5], "{name}");
        assert_eq!(msix, u32::from(driver.queues()) + 1, "{name}");
    }
}

#[test]
fn only_what_is_offered_can_be_agreed_on_and_then_it_stays() {
    for (name, make) in FRONTS {
        let driver = Driver::new(make());
        let offered = driver.offered();
        let must = VERSION_1 | RING_EVENT_IDX | RING_INDIRECT_DESC;
        assert_eq!(offered & must, must, "{name}");
        assert!(!driver.negotiate(offered & !VERSION_1), "{name}: a legacy driver");
        let extra = 1 << (0..64).find(|bit| offered & 1 << bit == 0).unwrap();
        assert!(!driver.negotiate(VERSION_1 | extra), "{name}: {extra:#x}");
        driver.set_status(1 | 2 | FEATURES_OK | DRIVER_OK);
        assert_eq!(driver.status(), 3, "{name}: no DRIVER_OK without FEATURES_OK");
        assert!(driver.negotiate(offered), "{name}");
        driver.write(COMMON + 12, Width::Dword, 0);
        assert_eq!(driver.read(COMMON + 12, Width::Dword), offered >> 32, "{name}: frozen");
        driver.set_status(1);
        assert_eq!(driver.status(), 1 | 2 | FEATURES_OK, "{name}: bits only go by a reset");
        driver.reset();
        assert_eq!(driver.read(COMMON + 12, Width::Dword), 0, "{name}");
    }
}

#[test]
fn queues_have_their_sizes_and_others_do_not_exist() {
    for (name, make) in FRONTS {
        let driver = Driver::new(make());
        let queues = driver.queues();
        assert!(queues > 0, "{name}");
        for queue in 0..queues {
            assert!(driver.queue_size(queue).is_power_of_two(), "{name}");
            assert_eq!(driver.read(COMMON + 28, Width::Word), 0, "{name}: not enabled");
            assert_eq!(driver.read(COMMON + 30, Width::Word), u64::from(queue), "{name}");
        }
        for queue in [queues, 64, 0xffff] {
            assert_eq!(driver.queue_size(queue), 0, "{name}: queue {queue}");
            driver.write(COMMON + 24, Width::Word, 8);
            driver.write(COMMON + 28, Width::Word, 1);
            driver.write(COMMON + 26, Width::Word, 0);
            assert_eq!(driver.read(COMMON + 26, Width::Word), 0xffff, "{name}");
        }
        driver.select(0);
        driver.write(COMMON + 26, Width::Word, u64::from(queues) + 1);
        assert_eq!(driver.read(COMMON + 26, Width::Word), 0xffff, "{name}: no such vector");
        driver.write(COMMON + 26, Width::Word, u64::from(queues));
        assert_eq!(driver.read(COMMON + 26, Width::Word), u64::from(queues), "{name}");
    }
}

/// Item 14 of what hostile guests try: every width, every byte, aligned or not.
#[test]
fn any_access_anywhere_is_harmless() {
    for (name, make) in FRONTS {
        let driver = Driver::new(make());
        for started in [false, true] {
            if started {
                driver.start(0, 8);
            }
            let offsets = (0..0x8000).filter(|offset| offset % 0x1000 < 0x80 || offset % 0x1000 > 0xff8);
            for offset in offsets {
                for width in [Width::Byte, Width::Word, Width::Dword, Width::Qword] {
                    let value = driver.read(offset, width);
                    driver.write(offset, width, !value);
                    driver.write(offset, width, offset);
                }
            }
            for register in 0..=255 {
                for width in [Width::Byte, Width::Word, Width::Dword] {
                    if u64::from(register & 3) + width.bytes() <= 4 && !(0x10..0x28).contains(&register) {
                        let value = driver.board.pci.config_read(driver.slot, register, width);
                        driver.board.pci.config_write(driver.slot, register, width, !value);
                        driver.board.pci.config_write(driver.slot, register, width, value);
                    }
                }
            }
            driver.board.pci.config_write(driver.slot, 4, Width::Word, 7);
            driver.reset();
        }
        driver.start(0, 8);
        assert_eq!(driver.queues(), make().queues().len() as u16, "{name}");
    }
}

#[test]
fn registers_are_reached_through_configuration_space_too() {
    let (_, make) = FRONTS[0];
    let driver = Driver::new(make());
    let pci = &driver.board.pci;
    let mut at = pci.config_read(driver.slot, 0x34, Width::Byte) as u8;
    while pci.config_read(driver.slot, at, Width::Dword) & 0xff00_00ff != 0x0500_0009 {
        at = pci.config_read(driver.slot, at + 1, Width::Byte) as u8;
    }
    let access = |offset: u32, len: u32| {
        pci.config_write(driver.slot, at + 8, Width::Dword, offset);
        pci.config_write(driver.slot, at + 12, Width::Dword, len);
    };
    access(18, 2);
    assert_eq!(pci.config_read(driver.slot, at + 16, Width::Dword), u32::from(driver.queues()));
    access(20, 1);
    pci.config_write(driver.slot, at + 16, Width::Byte, 1);
    assert_eq!(driver.status(), 1);
    for (offset, len) in [(18, 3), (19, 2), (u32::MAX, 1), (0, 8), (0, 0)] {
        access(offset, len);
        pci.config_read(driver.slot, at + 16, Width::Dword);
        pci.config_write(driver.slot, at + 16, Width::Dword, u32::MAX);
    }
    assert_eq!(driver.status(), 1);
}
