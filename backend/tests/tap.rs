//! Taps and bridges, in a network of this test's own: it needs no rights but that to make a user namespace, or to be
//! root.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use backend::net::tap::{Error, InterfaceName, Tap};
use base::{Buffer, GuestMemory, GuestPhys};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Address, Ipv4Packet, UdpPacket,
    checksum,
};
use virtio::back::{Header, Net, Offloads, Received, Sent};

const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 5];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 6];
const HOST_IP: Ipv4Address = Ipv4Address::new(10, 9, 9, 1);
const GUEST_IP: Ipv4Address = Ipv4Address::new(10, 9, 9, 2);

fn main() {
    let mut arguments = Arguments::from_args();
    if std::env::var_os("RINGFENCE_TEST_STRANGER").is_some() {
        return stranger();
    }
    if !arguments.list {
        enter();
    }
    // They share one network.
    arguments.test_threads = Some(1);
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    let trials = vec![
        trial("datagrams_go_both_ways_with_their_checksums_left_undone", datagrams),
        trial("machines_in_a_bridge_hear_each_other", bridge),
        trial("a_tap_that_is_deleted_is_a_cable_that_is_out", deleted),
        trial("what_is_wrong_is_told_with_what_to_do", errors),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// Enters a network of our own, as root of a user namespace, or as root.
fn enter() {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).is_ok() {
        std::fs::write("/proc/self/setgroups", "deny").unwrap();
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1")).unwrap();
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1")).unwrap();
    } else {
        unshare(CloneFlags::CLONE_NEWNET).expect("the right to make a network namespace");
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip, of iproute2");
    assert!(done.success(), "ip {arguments}");
}

fn name(name: &str) -> InterfaceName {
    InterfaceName::new(name).unwrap()
}

fn buffer(len: u64) -> Buffer {
    let mut buffer = Buffer::new(&Arc::new(GuestMemory::new(1 << 20).unwrap()));
    // In two pieces, as drivers have it.
    buffer.push(GuestPhys(0x1000), len / 2).unwrap();
    buffer.push(GuestPhys(0x8000), len - len / 2).unwrap();
    buffer
}

fn send(tap: &mut Tap, header: &Header, frame: &[u8]) {
    let buffer = buffer(frame.len() as u64);
    buffer.write(0, frame);
    assert_eq!(tap.send(header, &buffer), Sent::Taken);
}

/// The next frame that `wanted` takes: the kernel sends some of its own, too.
fn receive<R>(tap: &mut Tap, wanted: impl Fn(&Header, &[u8]) -> Option<R>) -> R {
    receive_into(&buffer(2000), tap, wanted)
}

fn receive_into<R>(into: &Buffer, tap: &mut Tap, wanted: impl Fn(&Header, &[u8]) -> Option<R>) -> R {
    loop {
        match tap.receive(into) {
            Received::Frame(header, len) => {
                let mut frame = vec![0; len as usize];
                into.read(0, &mut frame);
                if let Some(result) = wanted(&header, &frame) {
                    return result;
                }
            }
            Received::Nothing => {
                let mut fds = [PollFd::new(tap.wake(), PollFlags::POLLIN)];
                assert_eq!(poll(&mut fds, PollTimeout::from(60_000u16)).unwrap(), 1, "nothing comes");
            }
        }
    }
}

/// A datagram from the guest to the host, of which only the pseudo header's sum is in the checksum.
fn datagram(to: [u8; 6], port: u16, text: &[u8]) -> (Header, Vec<u8>) {
    let mut frame = vec![0; 42 + text.len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_src_addr(EthernetAddress(GUEST));
    ethernet.set_dst_addr(EthernetAddress(to));
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    packet.set_version(4);
    packet.set_header_len(20);
    packet.set_total_len(28 + text.len() as u16);
    packet.set_hop_limit(64);
    packet.set_next_header(IpProtocol::Udp);
    packet.set_src_addr(GUEST_IP);
    packet.set_dst_addr(HOST_IP);
    packet.fill_checksum();
    let mut udp = UdpPacket::new_unchecked(packet.payload_mut());
    let len = 8 + text.len();
    udp.set_src_port(77);
    udp.set_dst_port(port);
    udp.set_len(len as u16);
    udp.set_checksum(checksum::pseudo_header_v4(&GUEST_IP, &HOST_IP, IpProtocol::Udp, len as u32));
    udp.payload_mut().copy_from_slice(text);
    (Header { flags: 1, csum_start: 34, csum_offset: 6, ..Header::default() }, frame)
}

fn datagrams() {
    let mut tap = Tap::open(&name("rf0"), GUEST).unwrap();
    assert!(tap.facts().from_guest.contains(Offloads::CHECKSUM | Offloads::TSO4 | Offloads::TSO6));
    assert_eq!((tap.facts().mac, tap.facts().mtu), (GUEST, 1500));
    ip("link set rf0 address 02:00:00:00:00:01");
    ip("addr add 10.9.9.1/24 dev rf0");
    ip("neigh add 10.9.9.2 lladdr 02:00:00:00:00:05 dev rf0");
    let socket = UdpSocket::bind((HOST_IP, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let (header, frame) = datagram([2, 0, 0, 0, 0, 1], port, b"are you there?");
    send(&mut tap, &header, &frame);
    let mut text = [0; 100];
    let (len, from) = socket.recv_from(&mut text).unwrap();
    assert_eq!((&text[..len], from.to_string().as_str()), (&b"are you there?"[..], "10.9.9.2:77"));
    // And back: the kernel leaves the checksum to those who take that.
    for (accepted, flags) in [(Offloads::empty(), 0), (Offloads::CHECKSUM, 1)] {
        tap.accept(accepted);
        socket.send_to(b"i am", from).unwrap();
        let seen = receive(&mut tap, |header, frame| frame.ends_with(b"i am").then_some(header.flags & 1));
        assert_eq!(seen, flags);
    }
    // One that is longer than the buffer is dropped, and the next one comes.
    let short = buffer(60);
    socket.send_to(&[7; 500], from).unwrap();
    socket.send_to(b"short", from).unwrap();
    receive_into(&short, &mut tap, |_, frame| frame.ends_with(b"short").then(|| assert_eq!(frame.len(), 47)));
    assert_eq!(tap.receive(&short), Received::Nothing);
}

fn bridge() {
    ip("link add rfbr0 type bridge");
    ip("link set rfbr0 up");
    let mut one = Tap::in_bridge(&name("rfbr0"), GUEST).unwrap();
    let mut other = Tap::in_bridge(&name("rfbr0"), OTHER).unwrap();
    assert_ne!(one.name(), other.name());
    let (header, frame) = datagram([0xff; 6], 9, b"to all");
    // A bridge listens to a new port only after a moment.
    for attempt in 0.. {
        send(&mut one, &header, &frame);
        let mut fds = [PollFd::new(other.wake(), PollFlags::POLLIN)];
        let heard = poll(&mut fds, PollTimeout::from(100u16)).unwrap() == 1;
        if heard && receive(&mut other, |_, frame| Some(frame.ends_with(b"to all"))) {
            break;
        }
        assert!(attempt < 300, "nothing crosses the bridge");
    }
}

fn deleted() {
    let mut tap = Tap::open(&name("rf1"), GUEST).unwrap();
    assert!(tap.link());
    ip("link del rf1");
    let into = buffer(2000);
    for _ in 0..1000 {
        if !tap.link() {
            break;
        }
        while tap.receive(&into) != Received::Nothing {}
    }
    assert!(!tap.link());
    let mut fds = [PollFd::new(tap.wake(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::ZERO).unwrap(), 0, "and the wake is silent");
}

fn errors() {
    let _held = Tap::open(&name("rf2"), GUEST).unwrap();
    assert!(matches!(Tap::open(&name("rf2"), GUEST), Err(Error::Busy(_))));
    assert!(matches!(Tap::open(&name("lo"), GUEST), Err(Error::Busy(_))));
    let error = Tap::in_bridge(&name("nowhere"), GUEST).unwrap_err();
    assert!(error.to_string().contains("ip link add nowhere type bridge"), "{error}");
    assert!(matches!(Tap::in_bridge(&name("rf2"), GUEST), Err(Error::NoBridge(_))));
    // Made for several queues, it is still ours to use.
    ip("tuntap add dev rf3 mode tap multi_queue vnet_hdr");
    Tap::open(&name("rf3"), GUEST).unwrap();
    // Who has no rights in this network.
    ip("link add rfbr1 type bridge");
    let this = std::env::current_exe().unwrap();
    let done = Command::new(this).env("RINGFENCE_TEST_STRANGER", "1").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// As somebody else: a user namespace further down has no rights in this network.
fn stranger() {
    unshare(CloneFlags::CLONE_NEWUSER).unwrap();
    let error = Tap::open(&name("rf9"), GUEST).unwrap_err();
    assert!(
        matches!(error, Error::Rights(_)) && error.to_string().contains("ip tuntap add dev rf9"),
        "{error}"
    );
    let error = Tap::in_bridge(&name("rfbr1"), GUEST).unwrap_err();
    assert!(matches!(error, Error::BridgeRights(_)) && error.to_string().contains("master rfbr1"), "{error}");
}
