//! Configuration and windows.

use super::*;
use crate::bus::{MmioDevice, PortDevice};
use base::{Record, RestoreError, Saved};

const IDENTITY: Identity = Identity {
    vendor: 0x1af4,
    device: 0x1042,
    class: 0x01_0000,
    revision: 1,
    subsystem: (0x1af4, 2),
    pin: 1,
};

/// A function with a BAR of each kind that remembers its last access.
struct Probe {
    config: Mutex<ConfigSpace>,
    last: Mutex<Option<(u8, u64, Width, u64)>>,
}

impl Probe {
    fn new() -> Self {
        Self::with(
            ConfigSpace::new(IDENTITY)
                .with_bar(0, Bar::Port { len: 64 })
                .with_bar(1, Bar::Memory { len: 4096 })
                .with_bar(2, Bar::Memory64 { len: 1 << 32 }),
        )
    }

    fn with(config: ConfigSpace) -> Self {
        Self { config: Mutex::new(config), last: Mutex::default() }
    }
}

impl PciFunction for Probe {
    fn config_read(&self, register: u8, width: Width) -> u32 {
        self.config.lock().unwrap().read(register, width)
    }
    fn config_write(&self, register: u8, width: Width, value: u32) {
        self.config.lock().unwrap().write(register, width, value);
    }
    fn windows(&self) -> Vec<Window> {
        self.config.lock().unwrap().windows()
    }
    fn read(&self, bar: u8, offset: u64, _: Width) -> u64 {
        u64::from(bar) << 8 | offset
    }
    fn write(&self, bar: u8, offset: u64, width: Width, value: u64) {
        *self.last.lock().unwrap() = Some((bar, offset, width, value));
    }
    fn reset(&self) {
        self.config.lock().unwrap().reset();
    }
    fn save(&self) -> Record {
        self.config.lock().unwrap().to_record()
    }
    fn restore(&self, record: &Record) -> Result<(), RestoreError> {
        self.config.lock().unwrap().restore_record(record)
    }
}

fn bus() -> (Arc<PciBus>, Arc<Probe>) {
    let probe = Arc::new(Probe::new());
    let bus = PciBus::default();
    bus.add(Slot::new(0, 0), Arc::new(HostBridge::default()));
    bus.add(Slot::new(3, 0), probe.clone());
    (Arc::new(bus), probe)
}

fn read(bus: &Arc<PciBus>, slot: Slot, register: u32) -> u32 {
    bus.set_address(ENABLE | u32::from(slot.0) << 8 | register & 0xfc);
    selected(bus, (register & 3) as u16)
}

fn write(bus: &Arc<PciBus>, slot: Slot, register: u32, value: u32) {
    bus.set_address(ENABLE | u32::from(slot.0) << 8 | register);
    ConfigDataPort(Arc::clone(bus)).write(0, Width::Dword, value);
}

fn selected(bus: &Arc<PciBus>, offset: u16) -> u32 {
    ConfigDataPort(Arc::clone(bus)).read(offset, Width::Dword)
}

#[test]
fn the_host_bridge_is_found_and_empty_slots_read_as_ones() {
    let (bus, _) = bus();
    let bridge = Slot::new(0, 0);
    assert_eq!((read(&bus, bridge, 0), read(&bus, bridge, 8)), (0x29c0_8086, 0x0600_0002));
    assert_eq!(read(&bus, Slot::new(1, 0), 0), u32::MAX);
    bus.set_address(ENABLE | 1 << 16);
    assert_eq!(selected(&bus, 0), u32::MAX, "another bus");
    bus.set_address(0);
    assert_eq!(selected(&bus, 0), u32::MAX, "not enabled");
    write(&bus, bridge, 0, 0);
    assert_eq!(read(&bus, bridge, 0), 0x29c0_8086, "identities cannot be written");
}

#[test]
fn bars_tell_their_size_and_decode_when_enabled() {
    let (bus, probe) = bus();
    let slot = Slot::new(3, 0);
    for (register, size) in [(0x10, 0xffff_ffc1), (0x14, 0xffff_f000), (0x18, 4), (0x1c, u32::MAX), (0x20, 0)]
    {
        write(&bus, slot, register, u32::MAX);
        assert_eq!(read(&bus, slot, register), size, "{register:#x}");
    }
    write(&bus, slot, 0x10, 0xc000);
    write(&bus, slot, 0x14, 0xd000_0000);
    write(&bus, slot, 0x18, 0);
    write(&bus, slot, 0x1c, 0x20);
    assert_eq!(bus.read(Space::Port, 0xc004, Width::Word), 0xffff, "not enabled yet");
    write(&bus, slot, 4, 3);
    assert_eq!(bus.read(Space::Port, 0xc004, Width::Word), 4);
    assert_eq!(bus.read(Space::Memory, 0xd000_0010, Width::Dword), 0x110);
    assert_eq!(bus.read(Space::Memory, 0xd000_0ffe, Width::Dword), 0xffff_ffff, "sticks out");
    bus.write(Space::Memory, 0x20_0000_0008, Width::Qword, 5);
    assert_eq!(*probe.last.lock().unwrap(), Some((2, 8, Width::Qword, 5)));
    bus.reset();
    assert_eq!(bus.read(Space::Port, 0xc004, Width::Word), 0xffff);
}

#[test]
fn a_bar_at_the_end_of_the_address_space_breaks_nothing() {
    let (bus, _) = bus();
    let slot = Slot::new(3, 0);
    write(&bus, slot, 0x1c, u32::MAX);
    write(&bus, slot, 4, 2);
    assert_eq!(bus.read(Space::Memory, u64::MAX, Width::Qword), u64::MAX);
    assert_eq!(bus.read(Space::Memory, u64::MAX - 7, Width::Qword), 0x200 | 0xffff_fff8);
}

#[test]
fn the_state_round_trips() {
    let (first, _) = bus();
    write(&first, Slot::new(3, 0), 0x14, 0xd000_0000);
    write(&first, Slot::new(3, 0), 4, 2);
    let (address, records) = first.save();
    let (second, _) = bus();
    second.restore(address, &records).unwrap();
    assert_eq!(second.save(), (address, records.clone()));
    assert_eq!(second.read(Space::Memory, 0xd000_0000, Width::Byte), 0);
    assert!(second.restore(address, &records[..1]).is_err());
    assert!(second.restore(address, &[records[1].clone(), records[1].clone()]).is_err(), "another's record");
}

#[test]
fn pins_are_spread_over_four_interrupts() {
    assert_eq!(
        [(0, 0), (1, 0), (1, 1), (3, 1)].map(|(device, pin)| interrupt_of(device, pin)),
        [16, 17, 18, 16]
    );
}

#[test]
fn the_configuration_space_is_in_memory_too() {
    let (bus, _) = bus();
    let ecam = Ecam(bus.clone());
    assert_eq!(ecam.read(0, Width::Dword), 0x29c0_8086);
    assert_eq!(ecam.read(3 << 15 | 2, Width::Word), 0x1042);
    ecam.write(3 << 15 | 0x14, Width::Dword, 0xd000_0000);
    assert_eq!(read(&bus, Slot::new(3, 0), 0x14), 0xd000_0000);
    let ones = u64::from(u32::MAX);
    assert_eq!(ecam.read(3 << 15 | 0x100, Width::Dword) & ones, ones, "no extended space");
    assert_eq!(ecam.read(3 << 15 | 2, Width::Dword) & ones, ones, "not within a doubleword");
    assert_eq!(ecam.read(4 << 15, Width::Dword) & ones, ones, "nobody");
}

#[test]
fn firmware_places_what_there_is_room_for() {
    let (bus, _) = bus();
    let slot = Slot::new(4, 0);
    bus.add(slot, Arc::new(Probe::with(ConfigSpace::new(IDENTITY).with_bar(1, Bar::Memory { len: 8192 }))));
    bus.assign();
    assert_eq!(read(&bus, slot, 0x14), 0xe010_2000, "after the other's 4 KiB, aligned");
    assert_eq!(read(&bus, slot, 4) & 7, 3);
    assert_eq!(read(&bus, slot, 0x3c), 0x010a);
    assert_eq!(bus.read(Space::Memory, 0xe010_2008, Width::Dword), 0x108);
    let crowded = Slot::new(3, 0);
    assert_eq!(read(&bus, crowded, 4) & 7, 0, "4 GiB do not fit below 4 GiB");
    assert_eq!((read(&bus, crowded, 0x10), read(&bus, crowded, 0x14)), (0xc001, 0xe010_0000));
    assert_eq!((read(&bus, crowded, 0x18), read(&bus, crowded, 0x1c)), (4, 0));
}
