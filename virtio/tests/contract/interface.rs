//! What a network interface does for a driver that does everything right, and what a wrong one gets.

use engine::Width;
use ringfence_virtio::Net;
use ringfence_virtio::back::{Header, Offloads};

use crate::cable::Cable;
use crate::driver::*;

const CSUM: u64 = 1;
const GUEST_CSUM: u64 = 1 << 1;
const CTRL_GUEST_OFFLOADS: u64 = 1 << 2;
const GUEST_TSO4: u64 = 1 << 7;
const HOST_TSO4: u64 = 1 << 11;
const MERGEABLE: u64 = 1 << 15;
const CTRL_VQ: u64 = 1 << 17;
const MQ: u64 = 1 << 22;

const SIZE: u16 = 64;
/// Where frames to send are, and where received ones go.
const OUT: u64 = 0x30_0000;
const IN: u64 = 0x20_0000;

const LARGE: Header =
    Header { flags: 1, gso_type: 1, hdr_len: 54, gso_size: 1448, csum_start: 34, csum_offset: 16 };

pub fn net(cable: &Cable, pairs: u16) -> Box<Net> {
    Box::new(Net::new(Box::new(cable.clone()), pairs, "an interface"))
}

fn bytes(header: &Header, buffers: u16) -> Vec<u8> {
    let words = [header.hdr_len, header.gso_size, header.csum_start, header.csum_offset, buffers];
    [&[header.flags, header.gso_type][..], words.map(u16::to_le_bytes).as_flattened()].concat()
}

fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed)).collect()
}

/// Offers buffers of `len` bytes to receive into, the n-th at `IN` + n × `len`.
fn offer_buffers(driver: &Driver, queue: u16, count: u16, len: u32) {
    for n in 0..count {
        let at = IN + u64::from(queue) * 0x4_0000 + u64::from(n) * u64::from(len);
        driver.chain(queue, n, &[(at, len, WRITE)]);
        driver.offer(queue, SIZE, n);
    }
    driver.kick(queue);
}

/// Sends a frame by descriptors 2n and 2n + 1.
fn send(driver: &Driver, queue: u16, n: u16, header: &Header, frame: &[u8]) {
    let at = OUT + u64::from(n) * 0x1_0000;
    driver.put(at, &bytes(header, 0));
    driver.put(at + 0x1000, frame);
    driver.chain(queue, 2 * n, &[(at, 12, 0), (at + 0x1000, frame.len() as u32, 0)]);
    driver.offer(queue, SIZE, 2 * n);
    driver.kick(queue);
}

fn command(driver: &Driver, queue: u16, command: &[u8]) -> u8 {
    let used = driver.used_index(queue);
    driver.put(OUT, command);
    driver.put(OUT + 0x100, &[0xff]);
    driver.chain(queue, 0, &[(OUT, command.len() as u32, 0), (OUT + 0x100, 1, WRITE)]);
    driver.offer(queue, SIZE, 0);
    driver.kick(queue);
    driver.await_used(queue, used.wrapping_add(1));
    driver.get::<1>(OUT + 0x100)[0]
}

fn read(driver: &Driver, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    driver.memory.read(base::GuestPhys(at), &mut bytes).unwrap();
    bytes
}

#[test]
fn the_configuration_says_what_it_is() {
    let cable = Cable::new(Offloads::CHECKSUM | Offloads::TSO4);
    let driver = Driver::new(net(&cable, 4));
    let mac: Vec<u8> = (0..6).map(|n| driver.read(DEVICE + n, Width::Byte) as u8).collect();
    let word = |at| driver.read(DEVICE + at, Width::Word);
    assert_eq!((mac, word(6), word(8), word(10)), (vec![2, 0, 0, 0, 0, 9], 1, 4, 1500));
    let offered = driver.offered();
    assert_eq!(
        offered & (CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4 | MQ),
        CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4 | MQ
    );
    assert_eq!(offered & (1 << 8 | 1 << 12 | 1 << 54 | 1 << 56), 0, "nothing that the back-end cannot do");
    assert_eq!(driver.queues(), 9);
}

#[test]
fn frames_are_sent_with_what_is_left_to_do() {
    let cable = Cable::new(Offloads::CHECKSUM | Offloads::TSO4);
    let driver = Driver::new(net(&cable, 1));
    driver.start(CSUM | HOST_TSO4, SIZE);
    send(&driver, 1, 0, &Header::default(), &frame(60, 1));
    send(&driver, 1, 1, &LARGE, &frame(9000, 2));
    driver.await_used(1, 2);
    assert_eq!(cable.sent(), [(Header::default(), frame(60, 1)), (LARGE, frame(9000, 2))]);
    assert_eq!(driver.used(1, SIZE, 1), (2, 0));
}

#[test]
fn what_was_not_agreed_on_is_dropped() {
    let cable = Cable::new(Offloads::all());
    let driver = Driver::new(net(&cable, 1));
    driver.start(CSUM, SIZE);
    send(&driver, 1, 0, &LARGE, &frame(9000, 1));
    send(&driver, 1, 1, &Header { gso_type: 77, ..LARGE }, &frame(9000, 1));
    send(&driver, 1, 2, &Header { gso_type: 0, ..LARGE }, &frame(90, 1));
    driver.await_used(1, 3);
    assert_eq!(cable.sent(), [(Header { gso_type: 0, ..LARGE }, frame(90, 1))]);
    driver.start(0, SIZE);
    assert_eq!(cable.accepted(), Offloads::empty());
    send(&driver, 1, 0, &Header { gso_type: 0, ..LARGE }, &frame(90, 1));
    driver.await_used(1, 1);
    assert_eq!(cable.sent().len(), 1);
}

#[test]
fn a_large_frame_is_received_into_many_buffers() {
    let cable = Cable::new(Offloads::CHECKSUM | Offloads::TSO4);
    let driver = Driver::new(net(&cable, 1));
    driver.start(MERGEABLE | GUEST_CSUM | GUEST_TSO4, SIZE);
    assert_eq!(cable.accepted(), Offloads::CHECKSUM | Offloads::TSO4);
    offer_buffers(&driver, 0, SIZE, 2000);
    cable.give(LARGE, &frame(5000, 3));
    cable.give(Header::default(), &frame(60, 4));
    driver.await_used(0, 4);
    assert_eq!([0, 1, 2, 3].map(|n| driver.used(0, SIZE, n)), [(0, 2000), (1, 2000), (2, 1012), (3, 72)]);
    assert_eq!(read(&driver, IN, 12), bytes(&LARGE, 3));
    assert_eq!(read(&driver, IN + 12, 5000), frame(5000, 3));
    assert_eq!(read(&driver, IN + 6000, 72), [bytes(&Header::default(), 1), frame(60, 4)].concat());
}

#[test]
fn without_merging_a_frame_is_in_one_buffer_or_nowhere() {
    let cable = Cable::new(Offloads::empty());
    let driver = Driver::new(net(&cable, 1));
    driver.start(0, SIZE);
    offer_buffers(&driver, 0, 4, 1530);
    cable.give(Header::default(), &frame(1519, 1));
    cable.give(Header::default(), &frame(1518, 2));
    driver.await_used(0, 1);
    assert_eq!(driver.used(0, SIZE, 0), (0, 1530));
    assert_eq!(read(&driver, IN, 1530), [bytes(&Header::default(), 1), frame(1518, 2)].concat());
    assert_eq!(cable.dropped(), 1);
}

#[test]
fn frames_wait_for_buffers_and_are_not_lost() {
    let cable = Cable::new(Offloads::CHECKSUM | Offloads::TSO4);
    let driver = Driver::new(net(&cable, 1));
    driver.start(MERGEABLE | GUEST_CSUM | GUEST_TSO4 | RING_EVENT_IDX, SIZE);
    offer_buffers(&driver, 0, 1, 2000);
    (0..3).for_each(|n| cable.give(LARGE, &frame(30_000, n)));
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!((cable.coming(), driver.used_index(0)), (3, 0));
    for n in 1..SIZE {
        driver.chain(0, n, &[(IN + u64::from(n) * 2000, 2000, WRITE)]);
        driver.offer(0, SIZE, n);
    }
    driver.kick(0);
    // What is left in the ring does not hold the longest frame: the third waits, or comes when all is in stock.
    wait("two frames", || driver.used_index(0) >= 32);
    assert_eq!(cable.dropped(), 0);
    assert_eq!(driver.get::<2>(IN + 10), 16u16.to_le_bytes());
}

#[test]
fn a_ring_that_can_never_hold_the_longest_frame_gets_those_that_fit() {
    let cable = Cable::new(Offloads::CHECKSUM | Offloads::TSO4);
    let driver = Driver::new(net(&cable, 1));
    driver.start(MERGEABLE | GUEST_CSUM | GUEST_TSO4, 8);
    for n in 0..8 {
        driver.chain(0, n, &[(IN + u64::from(n) * 2000, 2000, WRITE)]);
        driver.offer(0, 8, n);
    }
    driver.kick(0);
    cable.give(LARGE, &frame(40_000, 1));
    cable.give(Header::default(), &frame(100, 2));
    driver.await_used(0, 1);
    assert_eq!((driver.used(0, 8, 0), cable.dropped()), ((0, 112), 1));
}

#[test]
fn a_full_back_end_gets_the_frame_later() {
    let cable = Cable::new(Offloads::empty());
    let driver = Driver::new(net(&cable, 1));
    driver.start(0, SIZE);
    cable.fill(true);
    (0..3).for_each(|n| send(&driver, 1, n, &Header::default(), &frame(60, n as u8)));
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(driver.used_index(1), 0);
    // Without buffers, what comes meanwhile is dropped, so that the device does not spin.
    cable.give(Header::default(), &frame(60, 0));
    wait("the frame to be dropped", || cable.dropped() == 1);
    cable.fill(false);
    driver.await_used(1, 3);
    assert_eq!(cable.sent().iter().map(|(_, frame)| frame[0]).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_pulled_plug_is_seen() {
    let cable = Cable::new(Offloads::empty());
    let driver = Driver::new(net(&cable, 1));
    driver.start(0, SIZE);
    offer_buffers(&driver, 0, 4, 2000);
    for (plugged, status) in [(false, 0), (true, 1)] {
        cable.plug(plugged);
        wait("the link's state", || driver.read(DEVICE + 6, Width::Word) == status);
        wait("the interrupt", || driver.read(ISR, Width::Byte) & 2 != 0);
    }
}

#[test]
fn commands_change_the_address_the_offloads_and_the_pairs() {
    let cable = Cable::new(Offloads::CHECKSUM | Offloads::TSO4);
    let driver = Driver::new(net(&cable, 2));
    let features = CTRL_VQ | CTRL_GUEST_OFFLOADS | MQ | GUEST_CSUM | GUEST_TSO4;
    driver.start(features, SIZE);
    let control = 4;
    let ask = |bytes: &[u8]| command(&driver, control, bytes);
    assert_eq!(ask(&[1, 1, 2, 1, 1, 1, 1, 1]), 0);
    assert_eq!(ask(&[1, 1, 3, 1, 1, 1, 1, 1]), 1, "a group's");
    assert_eq!(ask(&[0, 0, 1]), 0, "a filter");
    let offloads = |bits: u64| [&[5, 0][..], &bits.to_le_bytes()].concat();
    assert_eq!(ask(&offloads(GUEST_CSUM)), 0);
    assert_eq!(cable.accepted(), Offloads::CHECKSUM);
    assert_eq!(ask(&offloads(GUEST_CSUM | 1 << 8)), 1, "not agreed on");
    assert_eq!(ask(&offloads(CSUM)), 1, "not one of the guest's");
    for (pairs, ack) in [(0u16, 1), (3, 1), (2, 0)] {
        assert_eq!(ask(&[&[4, 0][..], &pairs.to_le_bytes()].concat()), ack, "{pairs} pairs");
    }
    for unknown in [&[9, 9, 0][..], &[1], &[4, 0, 1], &[5, 0, 1, 2], &[0, 99, 1]] {
        assert_eq!(ask(unknown), 1, "{unknown:?}");
    }
    assert_eq!(driver.read(DEVICE, Width::Byte), 2);
    assert_eq!(driver.read(DEVICE + 5, Width::Byte), 1);
    driver.reset();
    assert_eq!(driver.read(DEVICE + 5, Width::Byte), 9, "a reset gives the address back");
}

/// A frame of TCP over IPv4 between two ports, of which one is the guest's.
fn segment(from: u16, to: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[23] = 6;
    frame[34..36].copy_from_slice(&from.to_be_bytes());
    frame[36..38].copy_from_slice(&to.to_be_bytes());
    frame
}

#[test]
fn answers_come_by_the_pair_that_asked() {
    let cable = Cable::new(Offloads::empty());
    let driver = Driver::new(net(&cable, 2));
    driver.start(CTRL_VQ | MQ | MERGEABLE, SIZE);
    assert_eq!(command(&driver, 4, &[4, 0, 2, 0]), 0);
    offer_buffers(&driver, 0, 16, 2000);
    offer_buffers(&driver, 2, 16, 2000);
    // Ports whose flows differ.
    for (n, port, queue) in [(0, 1000, 3), (1, 2000, 1), (2, 3000, 3)] {
        send(&driver, queue, n, &Header::default(), &segment(port, 80));
    }
    wait("what was sent", || cable.sent().len() == 3);
    for port in [1000, 2000, 3000, 2000, 1000] {
        cable.give(Header::default(), &segment(80, port));
    }
    wait("the answers", || driver.used_index(0) + driver.used_index(2) == 5);
    assert_eq!((driver.used_index(0), driver.used_index(2)), (2, 3));
    let ports = |queue: u16, count: u32| -> Vec<u16> {
        let at = |n: u32| IN + u64::from(queue) * 0x4_0000 + u64::from(n) * 2000 + 12 + 36;
        (0..count).map(|n| u16::from_be_bytes(driver.get(at(driver.used(queue, SIZE, n as u16).0)))).collect()
    };
    assert_eq!((ports(0, 2), ports(2, 3)), (vec![2000, 2000], vec![1000, 3000, 1000]));
}

#[test]
fn buffers_in_stock_go_along_into_another_machine() {
    let cable = Cable::new(Offloads::CHECKSUM | Offloads::TSO4);
    let features = MERGEABLE | GUEST_CSUM | GUEST_TSO4;
    let first = Driver::new(net(&cable, 1));
    first.start(features, SIZE);
    offer_buffers(&first, 0, SIZE, 2000);
    cable.give(Header::default(), &frame(60, 1));
    first.await_used(0, 1);
    first.board.pause();
    cable.give(LARGE, &frame(30_000, 2));

    let second = Driver::standing(net(&cable, 1));
    let mut all = vec![0; RAM as usize];
    first.memory.read(base::GuestPhys(0), &mut all).unwrap();
    second.put(0, &all);
    second.board.restore(&first.board.save()).unwrap();
    drop(first);
    assert_eq!(cable.accepted(), Offloads::CHECKSUM | Offloads::TSO4);
    second.board.resume();
    second.await_used(0, 17);
    assert_eq!(second.used(0, SIZE, 1), (1, 2000));
    assert_eq!(read(&second, IN + 2000 + 12, 30_000), frame(30_000, 2));
}

#[test]
fn a_state_of_another_interface_is_refused() {
    let first = Driver::new(net(&Cable::new(Offloads::all()), 1));
    first.start(GUEST_CSUM | GUEST_TSO4, SIZE);
    first.board.pause();
    let state = first.board.save();
    for (cable, pairs) in [(Cable::new(Offloads::all()), 2), (Cable::new(Offloads::CHECKSUM), 1)] {
        assert!(Driver::standing(net(&cable, pairs)).board.restore(&state).is_err());
    }
    Driver::standing(net(&Cable::new(Offloads::all()), 1)).board.restore(&state).unwrap();
}

#[test]
fn buffers_of_the_wrong_kind_are_mistakes() {
    let cable = Cable::new(Offloads::empty());
    let driver = Driver::new(net(&cable, 1));
    for (queue, buffers) in [
        (0, &[(IN, 100, 0)][..]),
        (0, &[(IN, 100, 0), (IN, 100, WRITE)]),
        (0, &[(IN, 12, WRITE)]),
        (1, &[(OUT, 100, WRITE)]),
        (1, &[(OUT, 100, 0), (IN, 100, WRITE)]),
        (1, &[(OUT, 11, 0)]),
        (2, &[(OUT, 10, 0)]),
    ] {
        driver.start(CTRL_VQ, SIZE);
        driver.chain(queue, 0, buffers);
        driver.offer(queue, SIZE, 0);
        driver.kick(queue);
        driver.await_mistake();
    }
    driver.start(0, SIZE);
    send(&driver, 1, 0, &Header::default(), &frame(60, 1));
    driver.await_used(1, 1);
}
