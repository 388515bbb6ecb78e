//! Sockets: from the guest and to it, credit on both sides, ends of all kinds, and packets that break the rules.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use base::Bell;
use engine::Width;
use ringfence_virtio::Vsock;
use ringfence_virtio::back::{self, Broken, Heard, Stream, VsockNews};

use crate::driver::*;

const SIZE: u16 = 16;
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const EVENT: u16 = 2;
/// Buffers for packets to the guest.
const BUFFERS: u64 = 0x20_0000;
const BUFFER: u64 = 0x1_0000;
/// A packet from the guest.
const PACKET: u64 = 0x38_0000;
const EVENTS: u64 = 0x3f_0000;

const CID: u64 = 3;
const HOST: u64 = 2;
/// What the device buffers for a connection.
const ALLOC: u32 = 256 << 10;

const REQUEST: u16 = 1;
const RESPONSE: u16 = 2;
const RST: u16 = 3;
const SHUTDOWN: u16 = 4;
const RW: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const CREDIT_REQUEST: u16 = 7;

/// The host's ends of streams, as the test sees them. Clones are the same.
#[derive(Clone)]
pub struct Host(Arc<Mutex<Ends>>, Arc<Bell>);

#[derive(Default)]
struct Ends {
    streams: BTreeMap<Stream, End>,
    news: Vec<VsockNews>,
    next: Stream,
    refuses: bool,
}

#[derive(Default)]
struct End {
    port: u32,
    accepted: bool,
    to_guest: VecDeque<u8>,
    says_no_more: bool,
    from_guest: Vec<u8>,
    room: usize,
    ended: bool,
    gone: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self(Arc::default(), Arc::new(Bell::new().unwrap()))
    }
}

impl Host {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap()
    }

    /// Somebody on the host connects to a port of the guest's.
    fn connect(&self, port: u32) -> Stream {
        let mut ends = self.ends();
        ends.next += 1;
        let stream = ends.next;
        ends.streams.insert(stream, End { port, room: usize::MAX, ..End::default() });
        ends.news.push(VsockNews::Incoming { stream, port });
        self.1.ring();
        stream
    }

    fn change(&self, stream: Stream, news: VsockNews, change: impl FnOnce(&mut End)) {
        let mut ends = self.ends();
        change(ends.streams.get_mut(&stream).unwrap());
        ends.news.push(news);
        self.1.ring();
    }

    fn look<R>(&self, stream: Stream, look: impl FnOnce(&End) -> R) -> R {
        look(&self.ends().streams[&stream])
    }

    fn says(&self, stream: Stream, bytes: &[u8]) {
        self.change(stream, VsockNews::Readable(stream), |end| end.to_guest.extend(bytes));
    }

    fn is_closed(&self, stream: Stream) -> bool {
        !self.ends().streams.contains_key(&stream)
    }
}

impl back::Vsock for Host {
    fn connect(&mut self, port: u32) -> Option<Stream> {
        let mut ends = self.ends();
        if ends.refuses {
            return None;
        }
        ends.next += 1;
        let stream = ends.next;
        ends.streams.insert(stream, End { port, room: usize::MAX, ..End::default() });
        Some(stream)
    }
    fn accept(&mut self, stream: Stream, _: u32) {
        self.ends().streams.get_mut(&stream).unwrap().accepted = true;
    }
    fn read(&mut self, stream: Stream, into: &mut [u8]) -> Result<Heard, Broken> {
        let mut ends = self.ends();
        let end = ends.streams.get_mut(&stream).unwrap();
        let len = into.len().min(end.to_guest.len());
        into.iter_mut().zip(end.to_guest.drain(..len)).for_each(|(to, from)| *to = from);
        Ok(match len {
            0 if end.says_no_more || end.gone => Heard::End,
            0 => Heard::Nothing,
            len => Heard::Bytes(len),
        })
    }
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<usize, Broken> {
        let mut ends = self.ends();
        let end = ends.streams.get_mut(&stream).unwrap();
        if end.gone {
            return Err(Broken);
        }
        let taken = bytes.len().min(end.room);
        end.room -= taken;
        end.from_guest.extend(&bytes[..taken]);
        Ok(taken)
    }
    fn end(&mut self, stream: Stream) {
        self.ends().streams.get_mut(&stream).unwrap().ended = true;
    }
    fn close(&mut self, stream: Stream) {
        assert!(self.ends().streams.remove(&stream).is_some(), "it was closed before");
    }
    fn news(&mut self, into: &mut Vec<VsockNews>) {
        self.1.answer();
        into.append(&mut self.ends().news);
    }
    fn wake(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

/// A packet: ports as the guest sees them, what it is, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    guest: u32,
    host: u32,
    op: u16,
    flags: u32,
    alloc: u32,
    forwarded: u32,
    bytes: Vec<u8>,
}

fn packet(guest: u32, host: u32, op: u16) -> Packet {
    Packet { guest, host, op, flags: 0, alloc: 1 << 20, forwarded: 0, bytes: vec![] }
}

impl Packet {
    /// As the guest sends it.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = [CID.to_le_bytes(), HOST.to_le_bytes()].concat();
        bytes.extend([self.guest, self.host, self.bytes.len() as u32].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend([1, self.op].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend([self.flags, self.alloc, self.forwarded].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(&self.bytes);
        bytes
    }

    /// As it comes to the guest.
    fn decode(bytes: &[u8]) -> Self {
        let dword = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(
            bytes[..16],
            [HOST.to_le_bytes(), CID.to_le_bytes()].concat(),
            "from the host, to the guest"
        );
        assert_eq!((bytes[28], bytes[29]), (1, 0), "a stream's");
        assert_eq!(dword(24) as usize, bytes.len() - 44);
        Self {
            host: dword(16),
            guest: dword(20),
            op: dword(28).to_le_bytes()[2].into(),
            flags: dword(32),
            alloc: dword(36),
            forwarded: dword(40),
            bytes: bytes[44..].to_vec(),
        }
    }
}

struct Guest {
    driver: Driver,
    sent: u16,
    seen: u16,
}

impl Guest {
    fn new() -> (Host, Self) {
        let host = Host::default();
        let driver = Driver::new(Box::new(Vsock::new(Box::new(host.clone()), CID as u32, "sockets")));
        (host, Self::start(driver))
    }

    fn start(driver: Driver) -> Self {
        driver.start(1, SIZE);
        let mut guest = Self { driver, sent: 0, seen: 0 };
        (0..SIZE).for_each(|n| guest.offer(n, BUFFER as u32));
        guest
    }

    fn offer(&mut self, n: u16, len: u32) {
        self.driver.chain(RECEIVE, n, &[(BUFFERS + BUFFER * u64::from(n), len, WRITE)]);
        self.driver.offer(RECEIVE, SIZE, n);
        self.driver.kick(RECEIVE);
    }

    /// Sends bytes as they are, cut in two.
    fn send_raw(&mut self, bytes: &[u8]) {
        self.driver.put(PACKET, bytes);
        let (first, second) = (bytes.len() as u32 / 3, bytes.len() as u32 - bytes.len() as u32 / 3);
        self.driver.chain(TRANSMIT, 0, &[(PACKET, first, 0), (PACKET + u64::from(first), second, 0)]);
        self.driver.offer(TRANSMIT, SIZE, 0);
        self.driver.kick(TRANSMIT);
        self.sent += 1;
    }

    fn send(&mut self, packet: &Packet) {
        self.send_raw(&packet.encode());
        self.driver.await_used(TRANSMIT, self.sent);
    }

    /// The next packet; its buffer is offered again.
    fn hear(&mut self) -> Packet {
        let next = self.seen;
        wait("a packet", || self.driver.used_index(RECEIVE) != next);
        let (head, len) = self.driver.used(RECEIVE, SIZE, self.seen);
        let mut bytes = vec![0; len as usize];
        self.driver.memory.read(base::GuestPhys(BUFFERS + BUFFER * u64::from(head)), &mut bytes).unwrap();
        self.seen += 1;
        self.offer(head as u16, BUFFER as u32);
        Packet::decode(&bytes)
    }

    fn hears(&mut self, guest: u32, host: u32, op: u16) -> Packet {
        let heard = self.hear();
        assert_eq!((heard.guest, heard.host, heard.op), (guest, host, op), "{heard:?}");
        heard
    }

    /// Nothing more has come once the device has done all.
    fn hears_nothing(&mut self) {
        self.driver.board.pause();
        self.driver.board.resume();
        assert_eq!(self.driver.used_index(RECEIVE), self.seen, "nothing was to be said");
    }

    /// A connection that the guest has begun.
    fn connected(host: &Host, guest: &mut Self, alloc: u32) -> Stream {
        guest.send(&Packet { alloc, ..packet(1000, 52, REQUEST) });
        assert_eq!(guest.hears(1000, 52, RESPONSE).alloc, ALLOC);
        let stream = host.ends().next;
        assert_eq!(host.look(stream, |end| end.port), 52);
        stream
    }
}

#[test]
fn the_guest_connects_and_both_talk() {
    let (host, mut guest) = Guest::new();
    assert_eq!(guest.driver.read(DEVICE, Width::Dword), CID);
    let stream = Guest::connected(&host, &mut guest, 1 << 20);
    guest.send(&Packet { bytes: b"question".to_vec(), ..packet(1000, 52, RW) });
    assert_eq!(host.look(stream, |end| end.from_guest.clone()), b"question");
    host.says(stream, b"answer");
    let heard = guest.hears(1000, 52, RW);
    assert_eq!((&heard.bytes[..], heard.forwarded), (&b"answer"[..], 8));
    // Half an end: the guest hears it, and talks on.
    host.change(stream, VsockNews::Readable(stream), |end| end.says_no_more = true);
    assert_eq!(guest.hears(1000, 52, SHUTDOWN).flags, 2);
    guest.send(&Packet { bytes: b"more".to_vec(), ..packet(1000, 52, RW) });
    guest.send(&Packet { flags: 2, ..packet(1000, 52, SHUTDOWN) });
    assert!(host.look(stream, |end| end.ended && end.from_guest == b"questionmore"));
    guest.send(&Packet { flags: 1, ..packet(1000, 52, SHUTDOWN) });
    guest.hears(1000, 52, RST);
    assert!(host.is_closed(stream));
}

#[test]
fn the_host_connects() {
    let (host, mut guest) = Guest::new();
    let stream = host.connect(7);
    host.says(stream, b"early");
    let request = guest.hear();
    assert_eq!((request.guest, request.op), (7, REQUEST));
    assert!(request.host >= 1 << 30);
    guest.hears_nothing();
    assert!(!host.look(stream, |end| end.accepted));
    guest.send(&packet(7, request.host, RESPONSE));
    assert!(host.look(stream, |end| end.accepted));
    assert_eq!(guest.hears(7, request.host, RW).bytes, b"early");
    // Another is refused, and one gives up before it is answered.
    let refused = host.connect(8);
    let request = guest.hear();
    guest.send(&packet(8, request.host, RST));
    assert!(host.is_closed(refused));
    let hasty = host.connect(9);
    let request = guest.hear();
    host.change(hasty, VsockNews::Gone(hasty), |end| end.gone = true);
    guest.hears(9, request.host, RST);
    assert!(host.is_closed(hasty));
    guest.send(&packet(9, request.host, RESPONSE));
    guest.hears(9, request.host, RST); // too late
}

#[test]
fn nobody_listens() {
    let (host, mut guest) = Guest::new();
    host.ends().refuses = true;
    guest.send(&packet(1000, 52, REQUEST));
    let heard = guest.hears(1000, 52, RST);
    assert_eq!((heard.flags, heard.alloc, heard.bytes.len()), (0, 0, 0));
}

#[test]
fn the_host_sends_no_more_than_the_guest_has_room_for() {
    let (host, mut guest) = Guest::new();
    let stream = Guest::connected(&host, &mut guest, 100);
    let bytes: Vec<u8> = (0..250).collect();
    host.says(stream, &bytes);
    assert_eq!(guest.hears(1000, 52, RW).bytes, bytes[..100]);
    guest.hears(1000, 52, CREDIT_REQUEST);
    guest.hears_nothing();
    // An answer that there is no room is not answered by the same question.
    guest.send(&Packet { alloc: 100, ..packet(1000, 52, CREDIT_UPDATE) });
    guest.hears_nothing();
    guest.send(&Packet { alloc: 100, forwarded: 60, ..packet(1000, 52, CREDIT_UPDATE) });
    assert_eq!(guest.hears(1000, 52, RW).bytes, bytes[100..160]);
    guest.hears(1000, 52, CREDIT_REQUEST);
    // A guest that says it has read more than there was has no room until it makes sense again.
    guest.send(&Packet { alloc: 100, forwarded: 1000, ..packet(1000, 52, CREDIT_UPDATE) });
    guest.hears_nothing();
    guest.send(&Packet { alloc: u32::MAX, forwarded: 160, ..packet(1000, 52, CREDIT_UPDATE) });
    assert_eq!(guest.hears(1000, 52, RW).bytes, bytes[160..]);
}

#[test]
fn the_guest_sends_no_more_than_there_is_room_for() {
    let (host, mut guest) = Guest::new();
    let stream = Guest::connected(&host, &mut guest, 1 << 20);
    host.ends().streams.get_mut(&stream).unwrap().room = 10;
    let piece = vec![1; 64 << 10];
    for _ in 0..4 {
        guest.send(&Packet { bytes: piece.clone(), ..packet(1000, 52, RW) });
    }
    guest.send(&packet(1000, 52, CREDIT_REQUEST));
    assert_eq!(guest.hears(1000, 52, CREDIT_UPDATE).forwarded, 10);
    guest.hears_nothing();
    // Room at the host's: the guest hears of it unasked when it is worth it.
    let room = |room| host.change(stream, VsockNews::Writable(stream), |end| end.room = room);
    room(100);
    wait("what there was room for", || host.look(stream, |end| end.from_guest.len()) == 110);
    guest.hears_nothing();
    room(100_000);
    assert_eq!(guest.hears(1000, 52, CREDIT_UPDATE).forwarded, 100_110);
    room(usize::MAX);
    assert_eq!(guest.hears(1000, 52, CREDIT_UPDATE).forwarded, ALLOC);
    assert_eq!(host.look(stream, |end| end.from_guest.len()), ALLOC as usize);
    // And beyond it.
    host.ends().streams.get_mut(&stream).unwrap().room = 0;
    for _ in 0..4 {
        guest.send(&Packet { bytes: piece.clone(), ..packet(1000, 52, RW) });
    }
    guest.send(&Packet { bytes: vec![1], ..packet(1000, 52, RW) });
    guest.hears(1000, 52, RST);
    assert!(host.is_closed(stream));
}

#[test]
fn what_was_sent_before_an_end_arrives() {
    let (host, mut guest) = Guest::new();
    let stream = Guest::connected(&host, &mut guest, 1 << 20);
    host.ends().streams.get_mut(&stream).unwrap().room = 3;
    guest.send(&Packet { bytes: b"from the guest".to_vec(), ..packet(1000, 52, RW) });
    guest.send(&Packet { flags: 3, ..packet(1000, 52, SHUTDOWN) });
    guest.hears_nothing();
    assert!(!host.look(stream, |end| end.ended), "some of it waits");
    host.change(stream, VsockNews::Writable(stream), |end| end.room = usize::MAX);
    guest.hears(1000, 52, RST);
    assert!(host.is_closed(stream));
    // The host's end goes with bytes on their way to the guest.
    let stream = Guest::connected(&host, &mut guest, 4);
    host.change(stream, VsockNews::Gone(stream), |end| {
        end.to_guest.extend(b"last words");
        end.gone = true;
    });
    assert_eq!(guest.hears(1000, 52, RW).bytes, b"last");
    guest.hears(1000, 52, CREDIT_REQUEST);
    // What the guest says meanwhile is heard by nobody, and is no fault.
    guest.send(&Packet { alloc: 100, forwarded: 4, bytes: vec![1; 99], ..packet(1000, 52, RW) });
    assert_eq!(guest.hears(1000, 52, RW).bytes, b" words");
    assert_eq!(guest.hears(1000, 52, SHUTDOWN).flags, 3);
    guest.send(&packet(1000, 52, RST));
    assert!(host.is_closed(stream));
}

#[test]
fn what_breaks_the_rules_is_reset() {
    let (host, mut guest) = Guest::new();
    for op in [RESPONSE, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST, 0, 8, 0xffff] {
        guest.send(&packet(5, 6, op));
        guest.hears(5, 6, RST);
    }
    guest.send(&packet(5, 6, RST));
    guest.hears_nothing();
    type Spoil = fn(&mut Vec<u8>);
    let bad: [(&str, Spoil); 6] = [
        ("a second request", |bytes| bytes[30] = REQUEST as u8),
        ("a response to the guest's own request", |bytes| bytes[30] = RESPONSE as u8),
        ("a type that there is not", |bytes| bytes[28] = 3),
        ("an operation that there is not", |bytes| bytes[31] = 1),
        ("more bytes than the packet has", |bytes| bytes[24] = 3),
        ("more bytes than there can be", |bytes| bytes[24..28].fill(0xff)),
    ];
    for (what, spoil) in bad {
        let stream = Guest::connected(&host, &mut guest, 1 << 20);
        let mut bytes = Packet { bytes: vec![1, 2], ..packet(1000, 52, RW) }.encode();
        spoil(&mut bytes);
        guest.send_raw(&bytes);
        guest.hears(1000, 52, RST);
        assert!(host.is_closed(stream), "{what}");
    }
    // Addresses of others: the packet is answered as it was asked, and the guest's own connection is another.
    let stream = Guest::connected(&host, &mut guest, 1 << 20);
    for (at, cid) in [(0, 4u8), (8, 3)] {
        let mut bytes = packet(1000, 52, RW).encode();
        bytes[at] = cid;
        guest.send_raw(&bytes);
        let next = guest.seen;
        wait("a reset", || guest.driver.used_index(RECEIVE) != next);
        let (head, _) = guest.driver.used(RECEIVE, SIZE, guest.seen);
        guest.seen += 1;
        let at = BUFFERS + BUFFER * u64::from(head);
        assert_eq!(guest.driver.get::<1>(at + 30), [RST as u8]);
        guest.offer(head as u16, BUFFER as u32);
    }
    guest.send(&Packet { bytes: vec![1], ..packet(1000, 52, RW) });
    assert_eq!(host.look(stream, |end| end.from_guest.clone()), [1]);
    // After it said so, the guest sends no more.
    guest.send(&Packet { flags: 2, ..packet(1000, 52, SHUTDOWN) });
    guest.send(&Packet { bytes: vec![1], ..packet(1000, 52, RW) });
    guest.hears(1000, 52, RST);
}

#[test]
fn what_is_no_packet_is_a_mistake() {
    let (_, mut guest) = Guest::new();
    guest.send_raw(&[0; 43]);
    guest.driver.await_mistake();
    for len in [43, 44] {
        let (host, mut guest) = Guest::new();
        guest.driver.start(1, SIZE);
        guest.sent = 0;
        guest.offer(0, len);
        host.connect(1);
        guest.driver.await_mistake();
    }
}

#[test]
fn there_are_no_more_connections_than_there_can_be() {
    let (host, mut guest) = Guest::new();
    for port in 0..256 {
        guest.send(&packet(port, 52, REQUEST));
        guest.hears(port, 52, RESPONSE);
    }
    guest.send(&packet(256, 52, REQUEST));
    guest.hears(256, 52, RST);
    let stream = host.connect(1);
    wait("the refusal", || host.is_closed(stream));
    guest.send(&packet(0, 52, RST));
    guest.send(&packet(256, 52, REQUEST));
    guest.hears(256, 52, RESPONSE);
}

/// A guest that asks for resets and never reads them is not heard until it does.
#[test]
fn resets_do_not_pile_up() {
    let (host, guest) = Guest::new();
    guest.driver.start(1, SIZE);
    let mut guest = Guest { sent: 0, seen: 0, ..guest };
    for _ in 0..64 {
        guest.send(&packet(5, 6, RW));
    }
    (0..3).for_each(|_| guest.send_raw(&packet(5, 6, RW).encode()));
    guest.driver.board.pause();
    guest.driver.board.resume();
    assert_eq!(guest.driver.used_index(TRANSMIT), 64);
    (0..SIZE).for_each(|n| guest.offer(n, BUFFER as u32));
    for _ in 0..67 {
        guest.hears(5, 6, RST);
    }
    guest.driver.await_used(TRANSMIT, 67);
    guest.hears_nothing();
    drop(host);
}

#[test]
fn connections_end_with_the_machine_and_the_next_hears_of_it() {
    let (host, mut guest) = Guest::new();
    let stream = Guest::connected(&host, &mut guest, 1 << 20);
    guest.driver.chain(EVENT, 0, &[(EVENTS, 4, WRITE)]);
    guest.driver.fill(EVENTS, 4, 0xff);
    guest.driver.offer(EVENT, SIZE, 0);
    guest.driver.kick(EVENT);
    // A pause alone ends nothing.
    guest.driver.board.pause();
    let state = guest.driver.board.save();
    guest.driver.board.resume();
    guest.send(&Packet { bytes: b"still there".to_vec(), ..packet(1000, 52, RW) });
    assert_eq!(host.look(stream, |end| end.from_guest.len()), 11);
    assert_eq!(guest.driver.used_index(EVENT), 0);

    guest.driver.board.pause();
    let other = Host::default();
    let driver = Driver::standing(Box::new(Vsock::new(Box::new(other.clone()), 99, "sockets")));
    let mut all = vec![0; RAM as usize];
    guest.driver.memory.read(base::GuestPhys(0), &mut all).unwrap();
    driver.put(0, &all);
    // As it was before the last packet.
    let mut second = Guest { driver, sent: guest.sent, seen: guest.seen };
    second.driver.board.restore(&state).unwrap();
    second.driver.board.resume();
    second.driver.await_used(EVENT, 1);
    assert_eq!(second.driver.get::<4>(EVENTS), [0; 4]);
    assert_eq!(second.driver.read(DEVICE, Width::Dword), CID, "the address is the saved one");
    wait("the packet", || second.driver.used_index(TRANSMIT) == second.sent);
    second.hears(1000, 52, RST);
    second.send(&packet(1001, 52, REQUEST));
    second.hears(1001, 52, RESPONSE);
}
