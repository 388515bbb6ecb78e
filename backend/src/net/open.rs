//! Connects an interface to what its [`Spec`] says.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use virtio::back::Net;

use super::switch::{Directory, Switch};
use super::tap::Tap;
use super::user::{Plan, Publish, User};
use super::{Captured, Kind, Limited, Mac, Spec, switch, tap, user};

/// Why an interface cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user-mode network.
    #[error(transparent)]
    User(#[from] user::Error),
    /// A tap or a bridge.
    #[error(transparent)]
    Tap(#[from] tap::Error),
    /// A switch.
    #[error(transparent)]
    Switch(#[from] switch::Error),
    /// Ports are published by a network that has none.
    #[error("--publish needs --net user: on other networks the guest has an address of its own")]
    Publish,
    /// The capture.
    #[error("the capture {path}: {error}{}", if error.kind() == io::ErrorKind::AlreadyExists { "; name a new file" } else { "" })]
    Capture {
        /// Its file.
        path: PathBuf,
        /// The host's word.
        error: io::Error,
    },
    /// The host has no random numbers or descriptors left.
    #[error("cannot set up a network interface: {0}")]
    Host(#[from] io::Error),
}

/// An interface's other end.
pub struct Opened {
    /// The back-end.
    pub net: Box<dyn Net>,
    /// Where the published ports are, in their order.
    pub published: Vec<SocketAddr>,
}

/// Connects an interface, publishes these ports, and writes its frames down if a file is given. `None` where there is to
/// be no interface.
///
/// # Errors
/// [`Error`].
pub fn open(spec: &Spec, publish: &[Publish], capture: Option<&Path>) -> Result<Option<Opened>, Error> {
    if !publish.is_empty() && !matches!(spec.kind, Kind::User { .. }) {
        return Err(Error::Publish);
    }
    let mac = match spec.mac {
        Some(mac) => mac.0,
        None => Mac::random().map_err(io::Error::from)?.0,
    };
    let mut published = vec![];
    let mut net: Box<dyn Net> = match &spec.kind {
        Kind::User { loopback, restrict } => {
            let plan = Plan { loopback: *loopback, restrict: *restrict, ..Plan::default() };
            let (user, at) = User::new(plan, mac, publish)?;
            published = at;
            Box::new(user)
        }
        Kind::Tap(name) => Box::new(Tap::open(name, mac)?),
        Kind::Bridge(name) => Box::new(Tap::in_bridge(name, mac)?),
        Kind::Switch(name) => Box::new(Switch::join(Directory::open(name)?, mac)?),
        Kind::None => return Ok(None),
    };
    if let Some(rate) = spec.bytes {
        net = Box::new(Limited::new(net, rate)?);
    }
    if let Some(path) = capture {
        let captured = Captured::new(net, path);
        net = Box::new(captured.map_err(|error| Error::Capture { path: path.to_owned(), error })?);
    }
    Ok(Some(Opened { net, published }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio::back::{Offloads, Received};

    fn open_as(text: &str, ports: &[&str], capture: Option<&Path>) -> Result<Option<Opened>, Error> {
        let ports: Vec<Publish> = ports.iter().map(|port| port.parse().unwrap()).collect();
        open(&text.parse().unwrap(), &ports, capture)
    }

    #[test]
    fn an_interface_is_what_the_words_say() {
        let folder = tempfile::tempdir().unwrap();
        let capture = folder.path().join("net.pcap");
        let words = "user,mac=52:54:00:00:00:01,limit-bw=1M";
        let Opened { mut net, published } = open_as(words, &["0:80"], Some(&capture)).unwrap().unwrap();
        assert_eq!(net.facts().mac, [0x52, 0x54, 0, 0, 0, 1]);
        assert!(net.facts().from_guest.contains(Offloads::TSO4) && net.link());
        assert!(published[0].ip().is_loopback() && published[0].port() != 0);
        assert_eq!(net.receive(&crate::net::testing::buffer(2000)), Received::Nothing);
        assert_eq!(std::fs::metadata(&capture).unwrap().len(), 24);
        assert!(open_as("none", &[], None).unwrap().is_none());
        let [one, other] = [(); 2].map(|()| open_as("user", &[], None).unwrap().unwrap().net.facts().mac);
        assert_ne!(one, other);
    }

    #[test]
    fn what_cannot_be_is_told() {
        assert!(matches!(open_as("none", &["1:1"], None), Err(Error::Publish)));
        let there = tempfile::NamedTempFile::new().unwrap();
        let error = open_as("user", &[], Some(there.path())).err().unwrap().to_string();
        assert!(error.contains("name a new file"), "{error}");
    }
}
