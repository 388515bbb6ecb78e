//! The whole board under a guest that writes anything anywhere.

use engine::Board;
use proptest::prelude::*;

use super::*;
use crate::board::CpuPort;

fn board(cpus: usize) -> Arc<Mainboard> {
    let clock = Arc::new(VirtualClock::default());
    clock.pause();
    Arc::new(Mainboard::new(Equipment {
        attention: (0..cpus).map(|_| Arc::new(Attention::default())).collect(),
        clock,
        unix_nanoseconds: 1_700_000_000_000_000_000,
        memory: 1 << 30,
        consoles: [const { None }; 4],
    }))
}

#[derive(Clone, Debug)]
enum Access {
    Port(u16, u64),
    Mmio(u64, u64),
    Msr(u32, u64),
    Take,
    Wait(u64),
}

const PORTS: [u16; 32] = [
    0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92,
    0xe9, 0xf4, 0x402, 0x505, 0x600, 0x602, 0x604, 0x608, 0x3f8, 0x3f9, 0x3fa, 0x3fc, 0xcf8, 0xcf9, 0xcfc,
];

/// Values that mean something more often than chance has it.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..256u64, (0..64u32).prop_map(|bit| 1 << bit), Just(u64::MAX)]
}

fn access() -> impl Strategy<Value = Access> {
    let port = prop_oneof![4 => prop::sample::select(PORTS.to_vec()), 1 => any::<u16>()];
    let page = prop_oneof![0xfec0_0000..0xfec0_1000u64, 0xfee0_0000..0xfee0_1000u64, any::<u64>()];
    let page = prop_oneof![page, (0..64u64).prop_map(|register| 0xfee0_0000 + 16 * register)];
    let msr = prop_oneof![Just(0x1bu32), Just(0x6e0), 0x800..0x900u32, any::<u32>()];
    prop_oneof![
        6 => (port, value()).prop_map(|(port, value)| Access::Port(port, value)),
        3 => (page, value()).prop_map(|(at, value)| Access::Mmio(at, value)),
        2 => (msr, value()).prop_map(|(index, value)| Access::Msr(index, value)),
        1 => Just(Access::Take),
        1 => (0..10_000_000_000u64).prop_map(Access::Wait),
    ]
}

fn carry_out(board: &Arc<Mainboard>, port: &CpuPort, access: &Access, width: Width) {
    match *access {
        Access::Port(at, value) => {
            let width = if width == Width::Qword { Width::Dword } else { width };
            let read = port.port_in(at, width);
            assert_eq!(u64::from(read) & !width.ones(), 0, "port {at:#x} reads beyond its width");
            port.port_out(at, width, value as u32);
        }
        Access::Mmio(at, value) => {
            let read = port.mmio_read(GuestPhys(at), width);
            assert_eq!(read & !width.ones(), 0, "{at:#x} reads beyond its width");
            port.mmio_write(GuestPhys(at), width, value);
        }
        Access::Msr(index, value) => {
            let _ = (port.msr_read(index), port.msr_write(index, value));
        }
        Access::Take => drop(port.take_interrupt()),
        Access::Wait(time) => {
            board.clock.set(board.clock.now() + time);
            board.chips.all().iter().for_each(|chip| chip.expire());
            (0..board.interrupts.cpus()).for_each(|cpu| board.interrupts.with_apic(cpu, |_, _| ()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a guest does, no chip panics, no access reads beyond its width, and what is saved then is
    /// accepted by another board and is the same there.
    #[test]
    fn no_access_breaks_the_board(accesses in prop::collection::vec((access(), 0..4usize, 0..2usize), 1..200)) {
        let one = board(2);
        let ports = [0, 1].map(|cpu| CpuPort::new(one.clone(), cpu));
        for (access, width, cpu) in &accesses {
            let width = [Width::Byte, Width::Word, Width::Dword, Width::Qword][*width];
            carry_out(&one, &ports[*cpu], access, width);
        }
        let saved = one.save();
        let other = board(2);
        other.restore(&saved).unwrap();
        prop_assert_eq!(other.save(), saved);
    }
}

#[test]
fn a_reset_board_is_as_new() {
    let one = board(2);
    let fresh = one.save();
    let port = CpuPort::new(one.clone(), 0);
    for at in PORTS {
        port.port_out(at, Width::Byte, 0x5a);
    }
    port.mmio_write(GuestPhys(0xfee0_00f0), Width::Dword, 0x1ff);
    assert_ne!(one.save(), fresh);
    one.reset();
    assert_eq!(one.save(), fresh);
}

#[test]
fn wide_accesses_reach_neighbouring_chips() {
    let board = board(1);
    let port = CpuPort::new(board, 0);
    // A doubleword at 3F6h: two bytes of nobody, then COM1's data and IER.
    port.port_out(0x3f6, Width::Dword, 0x0f41_ffff);
    assert_eq!(port.port_in(0x3f9, Width::Byte), 0x0f);
    assert_eq!(port.port_in(0x3f6, Width::Word), 0xffff);
    // CF9h is behind bytes only; a doubleword at CF8h is PCI's.
    port.port_out(0xcf8, Width::Dword, 0x8000_0600);
    assert_eq!(port.port_in(0xcf8, Width::Dword), 0x8000_0600);
    assert!(!port_is_reset(&port));
    port.port_out(0xcf9, Width::Byte, 2);
    assert_eq!(port.port_in(0xcf8, Width::Word), 0x02ff);
}

fn port_is_reset(port: &CpuPort) -> bool {
    port.port_in(0xcf9, Width::Byte) & 4 != 0
}

#[test]
fn the_local_apics_page_answers_every_width() {
    let board = board(1);
    let port = CpuPort::new(board, 0);
    let at = |offset: u64| GuestPhys(0xfee0_0000 + offset);
    assert_eq!(port.mmio_read(at(0x30), Width::Dword), 0x5_0014);
    assert_eq!(
        (port.mmio_read(at(0x32), Width::Byte), port.mmio_read(at(0x30), Width::Qword)),
        (5, 0x5_0014)
    );
    assert_eq!(port.mmio_read(at(0xffe), Width::Dword), 0xffff_0000, "beyond the page is nobody");
    port.mmio_write(at(0x80), Width::Byte, 0x50);
    port.mmio_write(at(0x84), Width::Dword, 0x50);
    assert_eq!(port.task_priority(), 0, "only aligned doublewords are stores");
    port.mmio_write(at(0x80), Width::Dword, 0x50);
    assert_eq!((port.task_priority(), port.mmio_read(GuestPhys(0xf000_0000), Width::Qword)), (5, u64::MAX));
}
