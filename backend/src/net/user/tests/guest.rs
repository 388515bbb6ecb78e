//! A guest for tests: smoltcp's whole stack, its frames going through guest memory as a driver's would.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Buffer, GuestMemory, GuestPhys};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, icmp, tcp, udp};
use smoltcp::time::Instant as Tick;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use virtio::back::{Header, Net, Received, Sent};

use crate::net::Frame;
use crate::net::user::User;

pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

/// The cable: frames both ways.
#[derive(Default)]
pub struct Cable {
    to_guest: VecDeque<Vec<u8>>,
    from_guest: VecDeque<Vec<u8>>,
}

pub struct Guest {
    pub user: User,
    memory: Arc<GuestMemory>,
    cable: Cable,
    interface: Interface,
    pub sockets: SocketSet<'static>,
    began: Instant,
    /// Headers and lengths of all frames that came.
    pub seen: Vec<(Header, usize)>,
}

impl Guest {
    pub fn new(user: User) -> Self {
        let mut cable = Cable::default();
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        let interface = Interface::new(config, &mut cable, Tick::ZERO);
        let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
        let sockets = SocketSet::new(vec![]);
        Self { user, memory, cable, interface, sockets, began: Instant::now(), seen: vec![] }
    }

    /// With the address that DHCP would give.
    pub fn configured(user: User) -> Self {
        let mut guest = Self::new(user);
        guest.configure(Ipv4Addr::new(10, 0, 2, 15), 24, Ipv4Addr::new(10, 0, 2, 2));
        guest
    }

    pub fn configure(&mut self, address: Ipv4Addr, bits: u8, router: Ipv4Addr) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            addresses.push(IpCidr::new(address.into(), bits)).unwrap();
        });
        self.interface.routes_mut().add_default_ipv4_route(router).unwrap();
    }

    pub fn tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 128 << 10]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    pub fn connect(&mut self, to: (Ipv4Addr, u16), from: u16) -> SocketHandle {
        let handle = self.tcp();
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket.connect(self.interface.context(), to, from).unwrap();
        handle
    }

    pub fn udp(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 64 << 10]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub fn icmp(&mut self, endpoint: icmp::Endpoint) -> SocketHandle {
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 16], vec![0; 16 << 10]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(endpoint).unwrap();
        self.sockets.add(socket)
    }

    pub fn dhcp(&mut self) -> SocketHandle {
        self.sockets.add(dhcpv4::Socket::new())
    }

    /// Lets guest and network work until `done`; panics if that takes more than a minute.
    pub fn until<R>(&mut self, mut done: impl FnMut(&mut Self) -> Option<R>) -> R {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.round();
            if let Some(result) = done(self) {
                return result;
            }
            assert!(Instant::now() < deadline, "it takes too long");
        }
    }

    /// One round of both, with a short wait for the host if nothing is to be done.
    pub fn round(&mut self) {
        let now = Tick::from_micros(self.began.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.cable, &mut self.sockets);
        let mut sent = false;
        while let Some(frame) = self.cable.from_guest.pop_front() {
            self.send(&frame);
            sent = true;
        }
        self.user.flush();
        if !sent {
            let mut fds = [PollFd::new(self.user.wake(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(2u8)).unwrap();
        }
        while let Some(frame) = self.receive() {
            self.cable.to_guest.push_back(frame.bytes);
        }
    }

    pub fn send(&mut self, frame: &[u8]) {
        let mut buffer = Buffer::new(&self.memory);
        buffer.push(GuestPhys(0x1000), frame.len() as u64).unwrap();
        buffer.write(0, frame);
        assert_eq!(self.user.send(&Header::default(), &buffer), Sent::Taken);
    }

    pub fn receive(&mut self) -> Option<Frame> {
        let mut buffer = Buffer::new(&self.memory);
        buffer.push(GuestPhys(0x2_0000), 70_000).unwrap();
        match self.user.receive(&buffer) {
            Received::Nothing => None,
            Received::Frame(header, len) => {
                let mut bytes = vec![0; len as usize];
                buffer.read(0, &mut bytes);
                self.seen.push((header, bytes.len()));
                Some(Frame { header, bytes })
            }
        }
    }

    pub fn is_silent(&self) -> bool {
        let mut fds = [PollFd::new(self.user.wake(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 0
    }
}

impl Device for Cable {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Tick) -> Option<(Incoming, Outgoing<'_>)> {
        let frame = self.to_guest.pop_front()?;
        Some((Incoming(frame), Outgoing(&mut self.from_guest)))
    }

    fn transmit(&mut self, _: Tick) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.from_guest))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut able = DeviceCapabilities::default();
        able.medium = Medium::Ethernet;
        able.max_transmission_unit = 1514;
        // As a driver that leaves it to its network card.
        able.checksum.tcp = Checksum::Tx;
        able
    }
}

pub struct Incoming(Vec<u8>);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

pub struct Outgoing<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let filled = fill(&mut frame);
        self.0.push_back(frame);
        filled
    }
}
