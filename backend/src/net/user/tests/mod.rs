//! Stories of a guest on the user-mode network, with real sockets on the host's loopback.

mod guest;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use smoltcp::socket::{dhcpv4, icmp, tcp, udp};
use smoltcp::wire::Icmpv4Repr;
use virtio::back::{Net, Offloads};

use self::guest::{Guest, MAC};
use super::names::NameServers;
use super::*;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

fn open() -> Plan {
    Plan { loopback: true, ..Plan::default() }
}

fn guest(plan: Plan) -> Guest {
    Guest::configured(User::new(plan, MAC, &[]).unwrap().0)
}

fn published(port: &str) -> (Guest, SocketAddr) {
    let (user, at) = User::new(Plan::default(), MAC, &[port.parse().unwrap()]).unwrap();
    (Guest::configured(user), at[0])
}

fn state(guest: &mut Guest, handle: smoltcp::iface::SocketHandle) -> tcp::State {
    guest.sockets.get_mut::<tcp::Socket>(handle).state()
}

#[test]
fn a_guest_gets_a_lease() {
    let mut guest = Guest::new(User::new(Plan::default(), MAC, &[]).unwrap().0);
    let handle = guest.dhcp();
    let lease = guest.until(|guest| match guest.sockets.get_mut::<dhcpv4::Socket>(handle).poll() {
        Some(dhcpv4::Event::Configured(lease)) => {
            Some((lease.address, lease.router, lease.dns_servers.to_vec()))
        }
        _ => None,
    });
    assert_eq!(lease, ("10.0.2.15/24".parse().unwrap(), Some(GATEWAY), vec![RESOLVER]));
}

/// Sends `up` bytes, which the host's side counts, and receives `down` bytes; then both ends say that they are done.
fn converse(accepted: Offloads, up: usize, down: usize) -> Guest {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let host = std::thread::spawn(move || {
        let mut stream = server.accept().unwrap().0;
        let mut got = vec![];
        stream.read_to_end(&mut got).unwrap();
        let bytes: Vec<u8> = (0..down).map(|at| (at % 253) as u8).collect();
        stream.write_all(&bytes).unwrap();
        got
    });
    let mut guest = guest(open());
    guest.user.accept(accepted);
    let handle = guest.connect((GATEWAY, port), 40_000);
    let (mut sent, mut got) = (0, vec![]);
    guest.until(|guest| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        while sent < up && socket.can_send() {
            sent += socket.send_slice(&vec![sent as u8; (up - sent).min(4096)]).unwrap();
        }
        if sent == up && socket.state() == tcp::State::Established {
            socket.close();
        }
        while socket.can_recv() {
            socket.recv(|bytes| (got.extend_from_slice(bytes), bytes.len()).into_swapped()).unwrap();
        }
        matches!(socket.state(), tcp::State::TimeWait | tcp::State::Closed).then_some(())
    });
    let arrived = host.join().unwrap();
    assert_eq!(arrived.len(), up);
    assert!(got.iter().enumerate().all(|(at, byte)| *byte == (at % 253) as u8));
    assert_eq!(got.len(), down);
    guest
}

/// What smoltcp's `recv` wants: the count first.
trait IntoSwapped<A, B> {
    fn into_swapped(self) -> (B, A);
}

impl<A, B> IntoSwapped<A, B> for (A, B) {
    fn into_swapped(self) -> (B, A) {
        (self.1, self.0)
    }
}

#[test]
fn bytes_go_both_ways_and_ends_are_passed_on() {
    let guest = converse(Offloads::empty(), 700_000, 900_000);
    assert!(guest.seen.iter().all(|(header, len)| *len <= 1514 && *header == Header::default()));
}

#[test]
fn a_guest_that_takes_large_segments_gets_them() {
    let guest = converse(Offloads::CHECKSUM | Offloads::TSO4, 10, 900_000);
    let large =
        guest.seen.iter().filter(|(header, len)| *len > 1514 && header.gso_type == offload::TCPV4).count();
    assert!(large > 3, "{large}");
    assert!(guest.seen.iter().all(|(header, len)| *len <= 1514 || header.gso_size == 1460));
}

/// A port that is taken, so that no other test gets it, and at which nobody listens.
fn held_port() -> (OwnedFd, u16) {
    let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let port = getsockname::<SockaddrIn>(held.as_raw_fd()).unwrap().port();
    (held, port)
}

#[test]
fn a_port_where_nobody_listens_is_refused_as_is_a_loopback_that_is_closed() {
    let (_held, held) = held_port();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    for (plan, port) in [(open(), held), (Plan::default(), listening.local_addr().unwrap().port())] {
        let mut guest = guest(plan);
        let handle = guest.connect((GATEWAY, port), 40_000);
        // By nothing but what it is told: of itself it tries for ever.
        guest.until(|guest| (state(guest, handle) == tcp::State::Closed).then_some(()));
    }
    listening.set_nonblocking(true).unwrap();
    assert!(listening.accept().is_err());
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = guest(open());
    let handle = guest.connect((GATEWAY, server.local_addr().unwrap().port()), 40_000);
    guest.until(|guest| (state(guest, handle) == tcp::State::Established).then_some(()));
    let mut stream = server.accept().unwrap().0;
    guest.sockets.get_mut::<tcp::Socket>(handle).abort();
    stream.set_nonblocking(true).unwrap();
    let error = guest.until(|_| match stream.read(&mut [0; 9]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        other => Some(other),
    });
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn datagrams_are_answered_large_ones_too() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = (GATEWAY, server.local_addr().unwrap().port());
    let host = std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        for _ in 0..2 {
            let (len, peer) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..len], peer).unwrap();
        }
    });
    let mut guest = guest(open());
    let handle = guest.udp(5000);
    for len in [5, 1400] {
        let sent = vec![len as u8; len];
        guest.sockets.get_mut::<udp::Socket>(handle).send_slice(&sent, to).unwrap();
        let (got, from) = guest.until(|guest| {
            let (bytes, meta) = guest.sockets.get_mut::<udp::Socket>(handle).recv().ok()?;
            Some((bytes.to_vec(), meta.endpoint))
        });
        assert_eq!((got, from), (sent, to.into()));
    }
    host.join().unwrap();
}

#[test]
fn a_datagram_that_nobody_takes_is_answered_by_an_error() {
    // It takes only what comes from itself; and no other test gets the port.
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    held.connect(held.local_addr().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    let mut guest = guest(open());
    let (socket, errors) = (guest.udp(5000), guest.icmp(icmp::Endpoint::Udp(5000.into())));
    guest.sockets.get_mut::<udp::Socket>(socket).send_slice(b"x", (GATEWAY, port)).unwrap();
    let code = guest.until(|guest| {
        let (bytes, _) = guest.sockets.get_mut::<icmp::Socket>(errors).recv().ok()?;
        Some((bytes[0], bytes[1]))
    });
    assert_eq!(code, (3, 3));
}

#[test]
fn the_gateway_answers_pings_and_what_is_forbidden_is_told() {
    let mut guest = guest(Plan::default());
    let handle = guest.icmp(icmp::Endpoint::Ident(77));
    let ping = Icmpv4Repr::EchoRequest { ident: 77, seq_no: 1, data: b"are you there?" };
    for target in [GATEWAY, RESOLVER, Ipv4Addr::new(169, 254, 169, 254)] {
        let socket = guest.sockets.get_mut::<icmp::Socket>(handle);
        let bytes = socket.send(ping.buffer_len(), target.into()).unwrap();
        ping.emit(&mut smoltcp::wire::Icmpv4Packet::new_unchecked(bytes), &Default::default());
        if target.is_link_local() {
            let seen = guest.seen.len();
            guest.until(|guest| (guest.seen.len() > seen).then_some(()));
            continue;
        }
        let (from, payload) = guest.until(|guest| {
            let (bytes, from) = guest.sockets.get_mut::<icmp::Socket>(handle).recv().ok()?;
            Some((from, bytes[8..].to_vec()))
        });
        assert_eq!((from, &payload[..]), (target.into(), &b"are you there?"[..]));
    }
}

#[test]
fn questions_go_to_the_hosts_name_server_and_on_to_the_next_where_it_is_gone() {
    // Both loopback addresses at one port: at the first is one who hears only himself.
    let (server, deaf, port) = (0..100)
        .find_map(|_| {
            let server = UdpSocket::bind("127.0.0.2:0").unwrap();
            let port = server.local_addr().unwrap().port();
            Some((server, UdpSocket::bind(("127.0.0.1", port)).ok()?, port))
        })
        .expect("a port that is free at both");
    deaf.connect(deaf.local_addr().unwrap()).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "nameserver 127.0.0.1\nnameserver 127.0.0.2").unwrap();
    let names = NameServers::new(file.path(), port);
    let mut guest = Guest::configured(User::with_names(Plan::default(), MAC, &[], names).unwrap().0);
    let handle = guest.udp(5000);
    server.set_nonblocking(true).unwrap();
    let mut asked: Option<Instant> = None;
    let mut buffer = [0; 100];
    let answer = guest.until(|guest| {
        let socket = guest.sockets.get_mut::<udp::Socket>(handle);
        if asked.is_none_or(|asked| asked.elapsed() > Duration::from_millis(200)) {
            asked = Some(Instant::now());
            socket.send_slice(b"who is it?", (RESOLVER, 53)).unwrap();
        }
        // Each time: an answer that takes too long to be carried is not waited for.
        if let Ok((len, peer)) = server.recv_from(&mut buffer) {
            assert_eq!(&buffer[..len], b"who is it?");
            server.send_to(b"it is me", peer).unwrap();
        }
        let (bytes, meta) = socket.recv().ok()?;
        Some((bytes.to_vec(), meta.endpoint))
    });
    assert_eq!(answer, (b"it is me".to_vec(), (RESOLVER, 53).into()));
}

#[test]
fn a_published_port_leads_into_the_guest() {
    let (mut guest, at) = published("0:80");
    let handle = guest.tcp();
    guest.sockets.get_mut::<tcp::Socket>(handle).listen(80).unwrap();
    let visitor = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(b"GET /").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    });
    let (mut got, mut answered) = (vec![], false);
    guest.until(|guest| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        if socket.can_recv() {
            socket.recv(|bytes| (got.extend_from_slice(bytes), bytes.len()).into_swapped()).unwrap();
        }
        if socket.state() == tcp::State::CloseWait && got == b"GET /" && !answered {
            answered = true;
            socket.send_slice(b"a page").unwrap();
            socket.close();
        }
        visitor.is_finished().then_some(())
    });
    assert_eq!(visitor.join().unwrap(), "a page");
}

#[test]
fn a_visitor_to_a_guest_that_does_not_listen_is_reset() {
    let (mut guest, at) = published("0:80");
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_nonblocking(true).unwrap();
    let end = guest.until(|_| match stream.read(&mut [0; 9]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        other => Some(other),
    });
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_published_port_for_datagrams_works_both_ways() {
    let (mut guest, at) = published("0:53/udp");
    let handle = guest.udp(53);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_nonblocking(true).unwrap();
    peer.send_to(b"question", at).unwrap();
    let from = guest.until(|guest| {
        let (bytes, meta) = guest.sockets.get_mut::<udp::Socket>(handle).recv().ok()?;
        assert_eq!(bytes, b"question");
        Some(meta.endpoint)
    });
    assert_eq!(from, (GATEWAY, peer.local_addr().unwrap().port()).into());
    guest.sockets.get_mut::<udp::Socket>(handle).send_slice(b"answer", from).unwrap();
    let mut buffer = [0; 20];
    let (len, by) = guest.until(|_| peer.recv_from(&mut buffer).ok());
    assert_eq!((&buffer[..len], by), (&b"answer"[..], at));
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port: Publish = format!("{}:80", taken.local_addr().unwrap().port()).parse().unwrap();
    let error = User::new(Plan::default(), MAC, &[port]).err().unwrap().to_string();
    assert!(error.contains("another program listens there"), "{error}");
}

#[test]
fn connections_without_end_are_bounded_and_the_wake_falls_silent() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = SocketAddrV4::new(GATEWAY, server.local_addr().unwrap().port());
    let mut guest = guest(open());
    guest.round();
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let accepting = std::thread::spawn(move || {
        server.set_nonblocking(true).unwrap();
        let mut streams = vec![];
        while !until.load(Ordering::SeqCst) {
            match server.accept() {
                Ok((stream, _)) => streams.push(stream),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            streams.truncate(50);
        }
    });
    for port in 10_000..12_000 {
        guest.send(&syn(to, port));
        guest.user.flush();
        while guest.receive().is_some() {}
        assert!(guest.user.stack.flows() <= 512);
    }
    assert!(guest.user.stack.flows() > 256);
    over.store(true, Ordering::SeqCst);
    accepting.join().unwrap();
    // What is due again while we look is carried, too; but not without end.
    let began = Instant::now();
    while !guest.is_silent() {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never silent");
        while guest.receive().is_some() {}
    }
}

/// The frame of a SYN.
fn syn(to: SocketAddrV4, from: u16) -> Vec<u8> {
    use smoltcp::wire::*;
    let mut frame = vec![0; 14 + 20 + 20];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_src_addr(EthernetAddress(MAC));
    ethernet.set_dst_addr(EthernetAddress(Plan::MAC));
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let source = Plan::default().guest();
    let repr = Ipv4Repr {
        src_addr: source,
        dst_addr: *to.ip(),
        next_header: IpProtocol::Tcp,
        payload_len: 20,
        hop_limit: 64,
    };
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    repr.emit(&mut packet, &Default::default());
    let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
    segment.set_src_port(from);
    segment.set_dst_port(to.port());
    segment.set_header_len(20);
    segment.set_syn(true);
    segment.set_window_len(1000);
    frame
}

#[test]
fn a_guest_that_takes_nothing_makes_nothing_grow() {
    let (mut guest, at) = published("0:53/udp");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(at).unwrap();
    // What belongs to no connection is answered by a reset each.
    let stray = syn(SocketAddrV4::new(GATEWAY, server.local_addr().unwrap().port()), 7);
    for _ in 0..200 {
        for _ in 0..20 {
            let _ = peer.send(&[7; 1400]);
        }
        (0..50).for_each(|_| guest.send(&stray));
        guest.user.flush();
        // The device looks whether there is something, but has no room for it.
        guest.user.stack.turn(Instant::now());
    }
    let mut frames = 0;
    while guest.receive().is_some() {
        frames += 1;
    }
    // An outbox full of answers, and what the host's kernel had kept.
    assert!((1000..=3000).contains(&frames), "{frames}");
}
