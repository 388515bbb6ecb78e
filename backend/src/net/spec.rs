//! A network interface as the command line says it:
//! `user[,loopback][,restrict]|tap=NAME|bridge=NAME|switch=NAME|none[,mac=…][,limit-bw=…]`.

use std::fmt;
use std::str::FromStr;

use super::mac::{Mac, NotAMac};
use super::switch::Directory;
use super::tap::InterfaceName;

/// What an interface is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The world, through the host's own sockets.
    User {
        /// And the host's loopback.
        loopback: bool,
        /// Nowhere else, name servers included; published ports still lead in.
        restrict: bool,
    },
    /// An interface of the host's.
    Tap(InterfaceName),
    /// A bridge of the host's.
    Bridge(InterfaceName),
    /// Other machines of the same user that name the same switch.
    Switch(String),
    /// Nothing: there is no interface.
    None,
}

/// An interface as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What it is connected to.
    pub kind: Kind,
    /// Its hardware address; a random one if there is none.
    pub mac: Option<Mac>,
    /// Bytes a second in each direction, if they are limited.
    pub bytes: Option<u64>,
}

/// What is wrong with it, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No kind of network.
    #[error("{0:?} is no kind of network; write user, tap=NAME, bridge=NAME, switch=NAME or none")]
    Kind(String),
    /// An option there is none of.
    #[error("there is no option {0:?}; there are mac=, limit-bw= and, of user, loopback and restrict")]
    Unknown(String),
    /// An option twice.
    #[error("{0} is said twice")]
    Twice(&'static str),
    /// An option where it has no meaning.
    #[error("{0} has no meaning there: it is an option of {1}")]
    Meaningless(&'static str, &'static str),
    /// A name that no interface has.
    #[error("{0:?} is no name of an interface: these have up to 15 letters, digits, dots and dashes")]
    Interface(String),
    /// A name that no switch has.
    #[error(
        "{0:?} is no name of a switch: use 1 to 32 letters, digits, `-`, `_` and `.`, and begin with no `.`"
    )]
    Switch(String),
    /// No hardware address.
    #[error("mac={0}: {1}")]
    Mac(String, NotAMac),
    /// A limit that cannot be.
    #[error(
        "limit-bw is a whole number of bytes a second above zero, with K, M or G for powers of 1024; {0:?} is not"
    )]
    Limit(String),
}

impl Default for Spec {
    /// The network that needs nothing.
    fn default() -> Self {
        Self { kind: Kind::User { loopback: false, restrict: false }, mac: None, bytes: None }
    }
}

fn limit(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())??;
    number.checked_mul(1 << shift).filter(|rate| *rate > 0)
}

fn interface(name: &str) -> Result<InterfaceName, SpecError> {
    InterfaceName::new(name).ok_or_else(|| SpecError::Interface(name.to_owned()))
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let mut kind = match first.split_once('=') {
            None if first == "user" => Kind::User { loopback: false, restrict: false },
            None if first == "none" => Kind::None,
            Some(("tap", name)) => Kind::Tap(interface(name)?),
            Some(("bridge", name)) => Kind::Bridge(interface(name)?),
            Some(("switch", name)) if Directory::is_name(name) => Kind::Switch(name.to_owned()),
            Some(("switch", name)) => return Err(SpecError::Switch(name.to_owned())),
            _ => return Err(SpecError::Kind(first.to_owned())),
        };
        let (mut mac, mut bytes) = (None, None);
        for part in parts {
            let twice = match part.split_once('=') {
                Some(("mac", value)) => {
                    let parsed = value.parse().map_err(|error| SpecError::Mac(value.to_owned(), error))?;
                    mac.replace(parsed).map(|_| "mac")
                }
                Some(("limit-bw", value)) => {
                    let parsed = limit(value).ok_or_else(|| SpecError::Limit(value.to_owned()))?;
                    bytes.replace(parsed).map(|_| "limit-bw")
                }
                None if part == "loopback" => match &mut kind {
                    Kind::User { loopback, .. } => std::mem::replace(loopback, true).then_some("loopback"),
                    _ => return Err(SpecError::Meaningless("loopback", "user")),
                },
                None if part == "restrict" => match &mut kind {
                    Kind::User { restrict, .. } => std::mem::replace(restrict, true).then_some("restrict"),
                    _ => return Err(SpecError::Meaningless("restrict", "user")),
                },
                _ => return Err(SpecError::Unknown(part.to_owned())),
            };
            if let Some(option) = twice {
                return Err(SpecError::Twice(option));
            }
        }
        match kind {
            Kind::None if mac.is_some() => Err(SpecError::Meaningless("mac", "a network")),
            Kind::None if bytes.is_some() => Err(SpecError::Meaningless("limit-bw", "a network")),
            _ => Ok(Self { kind, mac, bytes }),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::User { loopback, restrict } => {
                f.write_str("user")?;
                f.write_str(if *loopback { ",loopback" } else { "" })?;
                f.write_str(if *restrict { ",restrict" } else { "" })?;
            }
            Kind::Tap(name) => write!(f, "tap={name}")?,
            Kind::Bridge(name) => write!(f, "bridge={name}")?,
            Kind::Switch(name) => write!(f, "switch={name}")?,
            Kind::None => f.write_str("none")?,
        }
        if let Some(mac) = self.mac {
            write!(f, ",mac={mac}")?;
        }
        self.bytes.map_or(Ok(()), |bytes| write!(f, ",limit-bw={bytes}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(text: &str) -> Spec {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn networks_as_people_write_them() {
        assert_eq!(spec("user"), Spec::default());
        assert_eq!(spec("user,loopback").kind, Kind::User { loopback: true, restrict: false });
        assert_eq!(spec("user,restrict").kind, Kind::User { loopback: false, restrict: true });
        assert_eq!(spec("none").kind, Kind::None);
        assert_eq!(spec("switch=blue.1").kind, Kind::Switch("blue.1".to_owned()));
        let tap = spec("tap=tap0,mac=52:54:00:00:00:01,limit-bw=10M");
        assert_eq!(tap.kind, Kind::Tap(InterfaceName::new("tap0").unwrap()));
        assert_eq!((tap.mac, tap.bytes), (Some(Mac([0x52, 0x54, 0, 0, 0, 1])), Some(10 << 20)));
        assert_eq!(spec("bridge=br0,limit-bw=1").bytes, Some(1));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, error) in [
            ("", SpecError::Kind(String::new())),
            ("nat", SpecError::Kind("nat".to_owned())),
            ("user=x", SpecError::Kind("user=x".to_owned())),
            ("tap", SpecError::Kind("tap".to_owned())),
            ("tap=", SpecError::Interface(String::new())),
            ("bridge=a/b", SpecError::Interface("a/b".to_owned())),
            ("switch=../x", SpecError::Switch("../x".to_owned())),
            ("user,mtu=9000", SpecError::Unknown("mtu=9000".to_owned())),
            ("user,", SpecError::Unknown(String::new())),
            ("user,loopback=yes", SpecError::Unknown("loopback=yes".to_owned())),
            ("user,loopback,loopback", SpecError::Twice("loopback")),
            ("tap=t,loopback", SpecError::Meaningless("loopback", "user")),
            ("switch=t,restrict", SpecError::Meaningless("restrict", "user")),
            ("none,mac=52:54:00:00:00:01", SpecError::Meaningless("mac", "a network")),
            ("none,limit-bw=1", SpecError::Meaningless("limit-bw", "a network")),
            ("user,mac=1", SpecError::Mac("1".to_owned(), NotAMac::Shape)),
            ("user,limit-bw=0", SpecError::Limit("0".to_owned())),
            ("user,limit-bw=é", SpecError::Limit("é".to_owned())),
            ("user,limit-bw=K", SpecError::Limit("K".to_owned())),
            ("user,limit-bw=17179869184G", SpecError::Limit("17179869184G".to_owned())),
            ("user,limit-bw=1M,limit-bw=1M", SpecError::Twice("limit-bw")),
        ] {
            assert_eq!(text.parse::<Spec>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(user|tap=|bridge=|switch=|none)?[a-z0-9=,.:/K-]{0,30}") {
            if let Ok(spec) = text.parse::<Spec>() {
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }
    }
}
