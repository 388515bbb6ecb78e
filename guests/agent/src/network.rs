//! What the host tells the agent about the network, as a word on the kernel's command line:
//! `ringfence.net=INTERFACE,ADDRESS/BITS,ROUTER,RESOLVER`.
//!
//! The host knows what its network would say by DHCP, and a guest that is told so is connected before its first command
//! runs, without a client, a script and a wait.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// How an interface of the guest's is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name in the guest: up to 15 letters and digits.
    pub interface: String,
    /// The guest's address.
    pub address: Ipv4Addr,
    /// Bits of the network's mask, at most 32.
    pub bits: u8,
    /// Where everything else goes.
    pub router: Ipv4Addr,
    /// Whom to ask for names.
    pub resolver: Ipv4Addr,
}

/// The text is no network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write INTERFACE,ADDRESS/BITS,ROUTER,RESOLVER")]
pub struct NotANetwork;

impl Network {
    /// What the word on the command line begins with.
    pub const WORD: &'static str = "ringfence.net=";

    /// The network's mask.
    pub fn mask(&self) -> Ipv4Addr {
        let ones = u32::MAX.checked_shl(32 - u32::from(self.bits.min(32))).unwrap_or(0);
        Ipv4Addr::from_bits(ones)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, address, bits, router, resolver } = self;
        write!(f, "{interface},{address}/{bits},{router},{resolver}")
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let parts: Vec<&str> = text.split(',').collect();
        let [interface, address, router, resolver] = parts[..] else { return Err(NotANetwork) };
        let named =
            (1..16).contains(&interface.len()) && interface.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (address, bits) = address.split_once('/').filter(|_| named).ok_or(NotANetwork)?;
        let ip = |text: &str| text.parse().map_err(|_| NotANetwork);
        let bits = bits.parse().ok().filter(|bits| *bits <= 32).ok_or(NotANetwork)?;
        Ok(Self {
            interface: interface.to_owned(),
            address: ip(address)?,
            bits,
            router: ip(router)?,
            resolver: ip(resolver)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_is_read_as_it_was_written() {
        let text = "eth0,10.0.2.15/24,10.0.2.2,10.0.2.3";
        let network: Network = text.parse().unwrap();
        assert_eq!(network.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(network.to_string(), text);
        for (bits, mask) in [(0, [0; 4]), (1, [128, 0, 0, 0]), (32, [255; 4])] {
            assert_eq!(Network { bits, ..network.clone() }.mask().octets(), mask);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z0-9./,]{0,50}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }
    }
}
