//! The network that the guest sees: who has which address, and where on the host's side a destination lies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The addresses of a user-mode network. The guest is the only other station on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first three bytes of every address in it.
    pub prefix: [u8; 3],
    /// May the guest reach the host's loopback, as the gateway's address?
    pub loopback: bool,
    /// Is the world closed to it, name servers included? Published ports still lead in.
    pub restrict: bool,
}

/// What a destination stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A host out there, or the host's loopback.
    Host(IpAddr),
    /// The gateway itself; its loopback is closed to this guest.
    Gateway,
    /// The resolver: whichever name server the host uses.
    Resolver,
    /// Nowhere that a guest may reach.
    Forbidden,
}

impl Default for Plan {
    /// QEMU's and libslirp's network, which guides to both assume: 10.0.2.0/24.
    fn default() -> Self {
        Self { prefix: [10, 0, 2], loopback: false, restrict: false }
    }
}

impl Plan {
    /// Bits of the network's mask.
    pub const BITS: u8 = 24;
    /// The mask.
    pub const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
    /// Bytes of IP that go to the guest and back in one frame, unless segmented.
    pub const MTU: usize = 1500;
    /// The gateway's hardware address: locally administered, and its IP address in the last bytes.
    pub const MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

    fn station(&self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.prefix;
        Ipv4Addr::new(a, b, c, number)
    }

    /// The gateway and DHCP server.
    pub fn gateway(&self) -> Ipv4Addr {
        self.station(2)
    }

    /// The name server.
    pub fn resolver(&self) -> Ipv4Addr {
        self.station(3)
    }

    /// The guest.
    pub fn guest(&self) -> Ipv4Addr {
        self.station(15)
    }

    /// Is it an address of this network?
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.octets()[..3] == self.prefix
    }

    /// May a packet from the guest bear this source?
    pub fn is_guest(&self, address: Ipv4Addr) -> bool {
        self.contains(address)
            && address != self.gateway()
            && address != self.resolver()
            && !matches!(address.octets()[3], 0 | 255)
    }

    /// Where a destination lies.
    ///
    /// Link-local addresses are forbidden beside what is no unicast address: in clouds, what answers there
    /// hands out the host's own credentials.
    pub fn destination(&self, address: Ipv4Addr) -> Destination {
        if address == self.resolver() && !self.restrict {
            return Destination::Resolver;
        }
        if address == self.gateway() {
            return match self.loopback {
                true => Destination::Host(Ipv4Addr::LOCALHOST.into()),
                false => Destination::Gateway,
            };
        }
        match self.lies_outside(address) && !self.restrict {
            true => Destination::Host(address.into()),
            false => Destination::Forbidden,
        }
    }

    /// Is it the address of one host somewhere in the world?
    fn lies_outside(&self, address: Ipv4Addr) -> bool {
        let special = self.contains(address)
            || address.octets()[0] == 0
            || address.is_loopback()
            || address.is_link_local()
            || address.is_multicast()
            || address.octets()[0] >= 240;
        !special
    }

    /// The address that a peer on the host's side has for the guest: what the guest cannot reach by that
    /// address stands behind the gateway.
    pub fn seen_from_guest(&self, peer: SocketAddr) -> Ipv4Addr {
        match peer.ip().to_canonical() {
            IpAddr::V4(address) if self.lies_outside(address) => address,
            _ => self.gateway(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let closed = Plan::default();
        let open = Plan { loopback: true, ..closed.clone() };
        let at = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let host = |text: &str| Destination::Host(IpAddr::V4(at(text)));
        assert_eq!(closed.destination(at("10.0.2.2")), Destination::Gateway);
        assert_eq!(open.destination(at("10.0.2.2")), host("127.0.0.1"));
        for plan in [closed, open] {
            assert_eq!(plan.destination(at("10.0.2.3")), Destination::Resolver);
            assert_eq!(plan.destination(at("10.0.3.3")), host("10.0.3.3"));
            assert_eq!(plan.destination(at("192.0.2.1")), host("192.0.2.1"));
            for forbidden in [
                "127.0.0.1",
                "127.8.8.8",
                "0.0.0.0",
                "169.254.169.254",
                "224.0.0.1",
                "255.255.255.255",
                "10.0.2.77",
            ] {
                assert_eq!(plan.destination(at(forbidden)), Destination::Forbidden, "{forbidden}");
            }
        }
    }

    #[test]
    fn a_restricted_guest_reaches_nobody() {
        let plan = Plan { restrict: true, ..Plan::default() };
        let reaches = |plan: &Plan, text: &str| plan.destination(text.parse().unwrap());
        for address in ["10.0.2.3", "192.0.2.1", "10.0.3.3", "127.0.0.1"] {
            assert_eq!(reaches(&plan, address), Destination::Forbidden, "{address}");
        }
        assert_eq!(reaches(&plan, "10.0.2.2"), Destination::Gateway);
        let open = Plan { loopback: true, ..plan };
        assert!(matches!(reaches(&open, "10.0.2.2"), Destination::Host(_)), "but by a word of its own");
    }

    #[test]
    fn peers_that_the_guest_cannot_name_stand_behind_the_gateway() {
        let plan = Plan::default();
        let seen = |text: &str| plan.seen_from_guest(text.parse().unwrap()).to_string();
        assert_eq!(seen("127.0.0.1:80"), "10.0.2.2");
        assert_eq!(seen("[::1]:80"), "10.0.2.2");
        assert_eq!(seen("192.0.2.9:80"), "192.0.2.9");
        assert_eq!(seen("[::ffff:192.0.2.9]:80"), "192.0.2.9");
        assert_eq!(seen("10.0.2.15:80"), "10.0.2.2");
    }

    #[test]
    fn sources() {
        let plan = Plan::default();
        for (address, guest) in [
            ("10.0.2.15", true),
            ("10.0.2.16", true),
            ("10.0.2.2", false),
            ("10.0.2.3", false),
            ("10.0.2.255", false),
            ("10.0.3.15", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(plan.is_guest(address.parse().unwrap()), guest, "{address}");
        }
    }
}
