//! Ports of the host's that lead into the guest.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::time::Instant;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Token};

use super::outbox::Outbox;
use super::plan::Plan;
use super::sockets::Sockets;

/// Which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port to publish: `[ADDRESS:]HOST:GUEST[/tcp|udp]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Publish {
    /// Where the host listens. Without an address in the text this is its loopback: what the world may reach is
    /// for the user to say. Port 0 takes any.
    pub host: SocketAddr,
    /// The guest's port.
    pub guest: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// What is wrong with a text that should name a port to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write [ADDRESS:]HOST:GUEST[/tcp|udp], as in 8080:80, 0.0.0.0:8080:80 or [::1]:5353:53/udp")]
pub struct NotAPort;

impl FromStr for Publish {
    type Err = NotAPort;

    fn from_str(text: &str) -> Result<Self, NotAPort> {
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.strip_suffix("/tcp").unwrap_or(text), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(NotAPort),
        };
        let (host, guest) = ports.rsplit_once(':').ok_or(NotAPort)?;
        let guest = number(guest).filter(|port| *port != 0).ok_or(NotAPort)?;
        let host = match number(host) {
            Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            None => {
                let (address, port) = host.rsplit_once(':').ok_or(NotAPort)?;
                let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
                let address = match bare {
                    Some(bare) => IpAddr::V6(bare.parse().map_err(|_| NotAPort)?),
                    None => IpAddr::V4(address.parse().map_err(|_| NotAPort)?),
                };
                SocketAddr::new(address, number(port).ok_or(NotAPort)?)
            }
        };
        Ok(Self { host, guest, protocol })
    }
}

/// A port without sign or space, which `parse` would take in part.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}:{}/{protocol}", self.host, self.guest)
    }
}

/// A published port at work.
#[derive(Debug)]
enum Door {
    Tcp { listener: TcpListener, guest: u16 },
    Udp { socket: UdpSocket, guest: u16, peers: HashMap<SocketAddrV4, (SocketAddr, Instant)> },
}

/// A peer who came in by TCP.
#[derive(Debug)]
pub struct Visitor {
    /// The connection.
    pub stream: TcpStream,
    /// Who the guest sees.
    pub seen: SocketAddrV4,
    /// The guest's port.
    pub guest: u16,
}

/// All published ports.
#[derive(Debug, Default)]
pub struct Doors {
    doors: HashMap<Token, Door>,
    busy: BTreeSet<Token>,
}

impl Doors {
    /// The most peers of one UDP port; the one unheard the longest is forgotten.
    const PEERS: usize = 256;
    /// Visitors or datagrams in one turn.
    const TURN: usize = 64;

    /// Opens a port. Gives the address it got.
    ///
    /// # Errors
    /// The host's: the port is taken, or not for this user.
    pub fn open(&mut self, port: &Publish, sockets: &mut Sockets) -> io::Result<SocketAddr> {
        let (token, door, at) = match port.protocol {
            Protocol::Tcp => {
                let mut listener = TcpListener::bind(port.host)?;
                let token = sockets.add(&mut listener, Interest::READABLE)?;
                let at = listener.local_addr()?;
                (token, Door::Tcp { listener, guest: port.guest }, at)
            }
            Protocol::Udp => {
                let mut socket = UdpSocket::bind(port.host)?;
                let token = sockets.add(&mut socket, Interest::READABLE)?;
                let at = socket.local_addr()?;
                (token, Door::Udp { socket, guest: port.guest, peers: HashMap::new() }, at)
            }
        };
        self.doors.insert(token, door);
        Ok(at)
    }

    /// Somebody is at a door: datagrams are queued for the guest, visitors by TCP are given back.
    pub fn event(&mut self, token: Token, plan: &Plan, now: Instant, out: &mut Outbox) -> Vec<Visitor> {
        let mut visitors = vec![];
        let Some(door) = self.doors.get_mut(&token) else { return visitors };
        for _ in 0..Self::TURN {
            match door {
                Door::Tcp { listener, guest } => match listener.accept() {
                    Ok((stream, peer)) => {
                        let seen = SocketAddrV4::new(plan.seen_from_guest(peer), peer.port());
                        visitors.push(Visitor { stream, seen, guest: *guest });
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => return visitors,
                },
                Door::Udp { socket, guest, peers } => {
                    if !out.has_room() {
                        break; // what the guest does not take in time, the host's kernel drops
                    }
                    let mut datagram = [0; 65_536];
                    let Ok((len, peer)) = socket.recv_from(&mut datagram) else { return visitors };
                    let seen = SocketAddrV4::new(plan.seen_from_guest(peer), peer.port());
                    if peers.len() >= Self::PEERS && !peers.contains_key(&seen) {
                        let oldest = peers.iter().min_by_key(|(_, (_, heard))| *heard).map(|(seen, _)| *seen);
                        oldest.map(|oldest| peers.remove(&oldest));
                    }
                    peers.insert(seen, (peer, now));
                    out.udp(seen, SocketAddrV4::new(plan.guest(), *guest), &datagram[..len]);
                }
            }
        }
        self.busy.insert(token);
        visitors
    }

    /// Doors at which more than one turn's visitors are.
    pub fn busy(&mut self) -> BTreeSet<Token> {
        std::mem::take(&mut self.busy)
    }

    /// Sends a datagram of the guest's to the peer whom it answers. False if it answers nobody.
    pub fn answer(&self, from: u16, to: SocketAddrV4, payload: &[u8]) -> bool {
        self.doors.values().any(|door| match door {
            Door::Udp { socket, guest, peers } if *guest == from => match peers.get(&to) {
                Some((peer, _)) => {
                    // What does not fit is lost, as datagrams are.
                    let _ = socket.send_to(payload, *peer);
                    true
                }
                None => false,
            },
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_as_people_write_them() {
        for (text, host, guest, protocol) in [
            ("8080:80", "127.0.0.1:8080", 80, Protocol::Tcp),
            ("8080:80/tcp", "127.0.0.1:8080", 80, Protocol::Tcp),
            ("0:22", "127.0.0.1:0", 22, Protocol::Tcp),
            ("0.0.0.0:5353:53/udp", "0.0.0.0:5353", 53, Protocol::Udp),
            ("[::1]:8080:80", "[::1]:8080", 80, Protocol::Tcp),
        ] {
            let port: Publish = text.parse().unwrap();
            assert_eq!(
                (port.host, port.guest, port.protocol),
                (host.parse().unwrap(), guest, protocol),
                "{text}"
            );
            assert_eq!(port.to_string().parse(), Ok(port));
        }
        for bad in [
            "",
            "80",
            ":80",
            "80:",
            "80:0",
            "65536:80",
            "80:65536",
            "+80:80",
            "8080:80/sctp",
            "8080:80/",
            "a:80",
            "::1:8080:80",
            "[127.0.0.1]:80:80",
            "localhost:80:80",
            "1.2.3.4:80",
            "8080:80/tcp/udp",
            " 8080:80",
        ] {
            assert_eq!(bad.parse::<Publish>(), Err(NotAPort), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(port) = text.parse::<Publish>() {
                prop_assert_eq!(port.to_string().parse(), Ok(port));
            }
        }
    }
}
