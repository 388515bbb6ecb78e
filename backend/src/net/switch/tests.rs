use super::*;
use crate::net::testing::{LONG, buffer, holding, private_folder, readable};
use std::path::Path;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const C: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
const ALL: [u8; 6] = [0xff; 6];

fn join(root: &Path, name: &str, mac: [u8; 6]) -> Switch {
    let mut switch = Switch::join(Directory::below(root, name).unwrap(), mac).unwrap();
    switch.accept(Offloads::all());
    switch
}

fn frame(to: [u8; 6], from: [u8; 6], text: &str) -> Vec<u8> {
    [&to[..], &from[..], &[0x88, 0xb5], text.as_bytes()].concat()
}

fn send(switch: &mut Switch, frame: &[u8]) -> Sent {
    switch.send(&Header::default(), &holding(frame))
}

fn received(switch: &mut Switch) -> Vec<Vec<u8>> {
    let mut frames = vec![];
    let into = buffer(70_000);
    while let Received::Frame(_, len) = switch.receive(&into) {
        let mut bytes = vec![0; len as usize];
        into.read(0, &mut bytes);
        frames.push(bytes);
    }
    frames
}

#[test]
fn unknown_stations_are_flooded_to_and_known_ones_are_not() {
    let root = private_folder();
    let [mut a, mut b, mut c] = [A, B, C].map(|mac| join(root.path(), "blue", mac));
    for switch in [&mut a, &mut b, &mut c] {
        assert!(received(switch).is_empty(), "everybody notices who has come");
    }
    let hello = frame(ALL, A, "hello");
    assert_eq!(send(&mut a, &hello), Sent::Taken);
    assert!(readable(b.wake(), LONG));
    assert_eq!((received(&mut b), received(&mut c)), (vec![hello.clone()], vec![hello]));
    assert!(received(&mut a).is_empty(), "nobody hears himself");
    let answer = frame(A, B, "for a alone");
    assert_eq!(send(&mut b, &answer), Sent::Taken);
    assert_eq!((received(&mut a), received(&mut c)), (vec![answer], vec![]));
    let unknown = frame([2; 6], A, "where?");
    assert_eq!(send(&mut a, &unknown), Sent::Taken);
    assert_eq!((received(&mut b), received(&mut c)), (vec![unknown.clone()], vec![unknown]));
    for switch in [&a, &b, &c] {
        assert!(!readable(switch.wake(), 0));
    }
}

#[test]
fn names_are_apart() {
    let root = private_folder();
    let (mut a, mut b) = (join(root.path(), "blue", A), join(root.path(), "red", B));
    assert!(received(&mut a).is_empty() && received(&mut b).is_empty());
    assert_eq!(send(&mut a, &frame(ALL, A, "hello")), Sent::Taken);
    assert_eq!(send(&mut a, &frame(B, A, "hello")), Sent::Taken);
    assert!(received(&mut b).is_empty() && !readable(b.wake(), 0));
}

#[test]
fn ports_come_and_go_and_dead_ones_are_buried() {
    let root = private_folder();
    let mut a = join(root.path(), "blue", A);
    let b = join(root.path(), "blue", B);
    assert!(readable(a.wake(), LONG) && received(&mut a).is_empty());
    assert_eq!(a.port.peers.len(), 1);
    let (path, left) = (a.port.directory().path().to_owned(), b.port.id);
    drop(b);
    assert!(readable(a.wake(), LONG) && received(&mut a).is_empty());
    assert_eq!((a.port.peers.len(), a.port.directory().ports(9).contains(&left)), (0, false));
    // A process that was killed leaves its socket behind.
    let dead = PortId(0x77);
    drop(std::os::unix::net::UnixDatagram::bind(path.join(format!("{:016x}", dead.0))).unwrap());
    let mut c = join(root.path(), "blue", C);
    assert_eq!(c.port.directory().ports(9).len(), 2);
    assert!(received(&mut a).is_empty() && received(&mut c).is_empty());
    assert_eq!(send(&mut c, &frame(ALL, C, "alive")), Sent::Taken);
    assert_eq!(received(&mut a).len(), 1);
}

#[test]
fn a_peer_that_dies_with_frames_under_way_is_buried_by_the_next() {
    let root = private_folder();
    let [mut a, mut b] = [A, B].map(|mac| join(root.path(), "blue", mac));
    assert!(received(&mut a).is_empty());
    assert_eq!(send(&mut b, &frame(ALL, B, "here")), Sent::Taken);
    assert_eq!(received(&mut a).len(), 1);
    let socket = a.port.directory().socket(b.port.id, true);
    drop(b);
    std::fs::write(&socket, "").unwrap(); // as if it had been killed
    assert_eq!(send(&mut a, &frame(B, A, "are you there?")), Sent::Taken);
    assert!(a.port.peers.is_empty() && !socket.exists());
}

#[test]
fn a_peer_that_does_not_read_is_waited_for_and_then_not() {
    let root = private_folder();
    let [mut a, mut b] = [A, B].map(|mac| join(root.path(), "blue", mac));
    assert!(received(&mut a).is_empty());
    assert_eq!(send(&mut b, &frame(ALL, B, "here")), Sent::Taken);
    assert_eq!(received(&mut a).len(), 1);
    let message = frame(B, A, "again");
    let mut last = Instant::now();
    let taken = |_: &u32| {
        last = Instant::now();
        send(&mut a, &message) == Sent::Taken
    };
    let sent = (0..100_000).take_while(taken).count();
    assert!(sent < 100_000);
    // Unless it took us too long to look.
    assert!(!readable(a.wake(), 1) || last.elapsed() >= Peer::PATIENCE, "it waits");
    // The peer reads, and there is room.
    assert_eq!(received(&mut b).len(), sent);
    assert!(readable(a.wake(), LONG));
    let began = Instant::now();
    let more = (0..100_000).take_while(|_| send(&mut a, &message) == Sent::Taken).count();
    assert!(more < 100_000);
    while send(&mut a, &message) == Sent::Full {
        assert!(readable(a.wake(), LONG), "patience ends");
    }
    assert!(began.elapsed() >= Peer::PATIENCE);
    assert!((0..1000).all(|_| send(&mut a, &message) == Sent::Taken), "what has no room is dropped");
    assert!(!readable(a.wake(), 30));
    assert_eq!(received(&mut b).len(), more);
    assert_eq!(send(&mut a, &message), Sent::Taken);
    assert_eq!(received(&mut b).len(), 1);
}

#[test]
fn large_segments_pass_whole_and_are_cut_for_those_who_cannot_take_them() {
    let root = private_folder();
    let [mut a, mut b, mut c] = [A, B, C].map(|mac| join(root.path(), "blue", mac));
    c.accept(Offloads::empty());
    assert!(received(&mut a).is_empty());
    let mut bytes = frame(ALL, A, "");
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes.resize(14 + 40 + 5000, 0);
    bytes[14] = 0x45;
    bytes[16..18].copy_from_slice(&5040u16.to_be_bytes());
    bytes[23] = 6;
    bytes[46] = 0x50;
    let header =
        Header { gso_type: offload::TCPV4, gso_size: 1448, hdr_len: 54, ..offload::checksummed(34, 16) };
    assert_eq!(a.send(&header, &holding(&bytes)), Sent::Taken);
    let into = buffer(70_000);
    assert_eq!(b.receive(&into), Received::Frame(header, bytes.len() as u64));
    let pieces: Vec<usize> = received(&mut c).iter().map(Vec::len).collect();
    assert_eq!(pieces, [1502, 1502, 1502, 54 + 5000 - 3 * 1448]);
    // A header that lies goes nowhere.
    let lie = Header { csum_start: 9000, ..header };
    assert_eq!(a.send(&lie, &holding(&bytes)), Sent::Taken);
    let raw = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let forged = [&port::prefix(PortId(9), &lie)[..], &bytes].concat();
    raw.send_to(&forged, b.port.directory().socket(b.port.id, true)).unwrap();
    assert!(received(&mut b).is_empty());
}

#[test]
fn a_switch_has_so_many_ports_and_no_more() {
    let root = private_folder();
    let ports: Vec<Switch> = (0..Port::MOST).map(|_| join(root.path(), "blue", A)).collect();
    let more = Switch::join(Directory::below(root.path(), "blue").unwrap(), A);
    assert!(matches!(more, Err(Error::Full(64))));
    assert_eq!(ports[0].port.directory().ports(1000).len(), Port::MOST, "the one too many has left");
}
