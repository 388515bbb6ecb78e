//! Frames of a guest on the user-mode network: as they come, and as segments that fit a connection of its own.
//!
//! The network is restricted, so that nothing that a frame says leads to a socket of anybody else's; connections are
//! made to the guest, through published ports on the host's loopback. Whatever is sent, what comes back is bounded, and
//! made of whole frames.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use backend::net::user::{Plan, User};
use base::{Buffer, GuestMemory, GuestPhys};
use virtio::back::{Header, Net, Offloads, Received};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target =
    Target { name: "frames", about: "a guest's frames on the user-mode network", longest: 4096, run, seeds };

const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Frames that come back at once: an outbox full, in the smallest segments.
const MOST: usize = 50_000;

struct Scene {
    user: User,
    memory: Arc<GuestMemory>,
    tcp: SocketAddr,
    udp: SocketAddr,
    visitors: Vec<TcpStream>,
    /// The last segment that came: its ports, and the numbers that an answer would have.
    last: Option<Segment>,
    /// Bytes that visitors' segments carried.
    payload: usize,
}

#[derive(Clone, Copy)]
struct Segment {
    peer: Ipv4Addr,
    peer_port: u16,
    port: u16,
    sequence: u32,
    acknowledged: u32,
}

fn run(input: &[u8]) {
    play(input);
}

fn play(input: &[u8]) -> Scene {
    let ports = ["0:80", "0:53/udp"].map(|port| port.parse().expect("a port"));
    let plan = Plan { restrict: true, ..Plan::default() };
    let (mut user, at) = User::new(plan, GUEST, &ports).expect("the host gives sockets");
    let mut source = Source::new(input);
    if source.once_in(2) {
        user.accept(Offloads::CHECKSUM | Offloads::TSO4);
    }
    let memory = Arc::new(GuestMemory::new(1 << 20).expect("the host gives memory"));
    let mut scene = Scene { user, memory, tcp: at[0], udp: at[1], visitors: vec![], last: None, payload: 0 };
    while !source.is_empty() {
        scene.step(&mut source);
    }
    scene.receive();
    scene
}

impl Scene {
    fn step(&mut self, source: &mut Source) {
        match source.below(8) {
            0 | 1 => {
                let len = usize::from(source.word()) % 1600;
                let frame = source.take(len);
                self.send(frame);
            }
            2..=4 => self.segment(source),
            5 if self.visitors.len() < 4 => {
                if let Ok(stream) = TcpStream::connect(self.tcp)
                    && stream.set_nonblocking(true).is_ok()
                {
                    self.visitors.push(stream);
                }
            }
            6 => {
                if let Ok(peer) = UdpSocket::bind("127.0.0.1:0") {
                    let len = source.below(200);
                    // What is lost is lost.
                    let _ = peer.send_to(source.take(len), self.udp);
                }
            }
            _ => {
                let bytes = [0; 3000];
                for visitor in &mut self.visitors {
                    let _ = visitor.write(&bytes[..source.below(256) * 11]);
                    let _ = visitor.read(&mut [0; 512]);
                }
                if source.once_in(8) {
                    self.visitors.pop();
                }
            }
        }
        self.user.flush();
        self.receive();
    }

    fn send(&mut self, frame: &[u8]) {
        let buffer = self.buffer(0x1000, frame.len());
        buffer.write(0, frame);
        self.user.send(&Header::default(), &buffer);
    }

    fn buffer(&self, at: u64, len: usize) -> Buffer {
        let mut buffer = Buffer::new(&self.memory);
        buffer.push(GuestPhys(at), len as u64).expect("it is RAM");
        buffer
    }

    /// A segment that answers the last one that came, more or less.
    fn segment(&mut self, source: &mut Source) {
        let near = |source: &mut Source, number: u32| match source.below(6) {
            0 => source.dword(),
            1 => number.wrapping_add(u32::from(source.byte())),
            2 => number.wrapping_sub(u32::from(source.byte())),
            _ => number,
        };
        let last = self.last.unwrap_or_else(|| Segment {
            peer: Ipv4Addr::new(10, 0, 2, 2),
            peer_port: source.word(),
            port: 80,
            sequence: 7,
            acknowledged: 0,
        });
        let (sequence, acknowledged) = (near(source, last.acknowledged), near(source, last.sequence));
        let flags = source.pick(&[0x10, 0x12, 0x18, 0x11, 0x04, 0x14, 0x02, 0x00, 0xff]);
        let options = source.below(11) * 4;
        let mut segment = vec![];
        segment.extend(last.port.to_be_bytes());
        segment.extend(last.peer_port.to_be_bytes());
        segment.extend(sequence.to_be_bytes());
        segment.extend(acknowledged.to_be_bytes());
        segment.extend([(5 + options as u8 / 4) << 4, flags]);
        segment.extend(source.word().to_be_bytes());
        segment.extend([0; 4]);
        let mut bytes = source.take(options).to_vec();
        bytes.resize(options, 1);
        segment.extend(bytes);
        let len = source.below(128) * usize::from(source.byte());
        segment.resize(segment.len() + len, 0x55);
        self.send(&packet(last.peer, 6, &segment));
    }

    fn receive(&mut self) {
        let into = self.buffer(0x2_0000, 70_000);
        let mut received = 0;
        while let Received::Frame(header, len) = self.user.receive(&into) {
            let mut frame = vec![0; len as usize];
            into.read(0, &mut frame);
            received += 1;
            assert!(received <= MOST && len >= 14, "a frame of {len} bytes");
            assert!(frame[..6] == GUEST || frame[..6] == [0xff; 6] || frame[0] & 1 == 0, "to a group");
            assert_eq!(frame[6..12], Plan::MAC);
            assert!(len <= 1514 || header.gso_size > 0, "{len} bytes at once");
            self.look(&frame);
        }
    }

    fn look(&mut self, frame: &[u8]) {
        if frame.len() < 54 || frame[12..14] != [8, 0] || frame[23] != 6 {
            return;
        }
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let dword = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let payload = usize::from(word(16)) - 20 - usize::from(frame[46] >> 4) * 4;
        self.payload += payload;
        let control = u32::from(frame[47] & 3 != 0);
        self.last = Some(Segment {
            peer: Ipv4Addr::new(frame[26], frame[27], frame[28], frame[29]),
            peer_port: word(34),
            port: word(36),
            sequence: dword(38).wrapping_add(payload as u32 + control),
            acknowledged: dword(42),
        });
    }
}

/// The frame of an IP packet from the guest.
fn packet(to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&Plan::MAC[..], &GUEST, &[8, 0, 0x45, 0]].concat();
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 7, 0, 0, 64, protocol, 0, 0]);
    frame.extend(Plan::default().guest().octets());
    frame.extend(to.octets());
    let sum: u32 =
        frame[14..34].as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The step that sends a frame as it is.
fn step(frame: &[u8]) -> Vec<u8> {
    [&[0][..], &(frame.len() as u16).to_le_bytes(), frame].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let gateway = Ipv4Addr::new(10, 0, 2, 2);
    let arp = [
        &[0xff; 6][..],
        &GUEST,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &GUEST,
        &[10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2],
    ]
    .concat();
    let echo = packet(gateway, 1, &[8, 0, 0, 0, 0, 1, 0, 1, b'a', b'b']);
    let mut discover = vec![0, 68, 0, 67, 1, 8, 0, 0, 1, 1, 6, 0, 1, 2, 3, 4];
    discover.resize(8 + 236, 0);
    discover.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 55, 4, 1, 3, 6, 26, 255]);
    let discover = packet(Ipv4Addr::BROADCAST, 17, &discover);
    let mut fragment = packet(gateway, 17, &[0; 64]);
    fragment[20] = 0x20;
    let dns = packet(Ipv4Addr::new(10, 0, 2, 3), 17, &[0, 99, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
    let frames = [arp, echo, discover, fragment, dns];
    let mut all = vec![0];
    frames.iter().for_each(|frame| all.extend(step(frame)));
    // A visitor, the guest's answers to it, and bytes both ways.
    let mut talk = vec![1, 5, 7, 0, 0];
    for flags in [1u8, 0, 2, 3] {
        talk.extend([2, 3, 3, flags, 0, 0xff, 0xff, 10, 10 * u8::from(flags != 1)]);
        talk.extend([7, 200, 0]);
    }
    vec![all, talk]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_get_answers_and_their_connection_stands() {
        let [frames, talk] = &seeds()[..] else { panic!("two seeds") };
        assert!(play(talk).payload > 0, "no byte of a visitor's reached the guest");
        let scene = play(frames);
        assert!(scene.last.is_none() && scene.payload == 0);
    }
}
