//! Options about networks.

use std::path::PathBuf;

use backend::net::user::Publish;
use backend::net::{Kind, Spec};
use clap::Args;

/// Options about networks.
#[derive(Debug, Args)]
pub struct NetArgs {
    /// Connects the guest to a network; may be said several times [default: user]
    ///
    /// user: out to the world through this host, with DHCP and DNS, without any rights; with loopback also to
    /// the host's own loopback, as 10.0.2.2; with restrict nowhere but there. tap, bridge: an interface or a bridge of the host's. switch: to all machines of
    /// this user that name the same switch. none: no network.
    #[arg(
        short,
        long,
        value_name = "user[,loopback][,restrict]|tap=NAME|bridge=NAME|switch=NAME|none[,mac=MAC][,limit-bw=SIZE]"
    )]
    net: Vec<Spec>,

    /// Lets a port of the host's lead into the guest; may be said several times
    ///
    /// Listens on the host's loopback unless an address is given. Of the networks it takes the first that is user.
    #[arg(short, long, value_name = "[ADDRESS:]HOST:GUEST[/tcp|udp]")]
    pub publish: Vec<Publish>,

    /// Writes what passes on the network into a new file, for tcpdump or Wireshark; 1 GiB at most
    ///
    /// With several networks, those after the first go to FILE.1, FILE.2 and so on.
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
}

impl NetArgs {
    /// The networks, in order: the default one where nothing was said.
    pub fn networks(&self) -> Vec<Spec> {
        if self.net.is_empty() { vec![Spec::default()] } else { self.net.clone() }
    }

    /// The file for what passes on the network of this number.
    pub fn capture_of(&self, number: usize) -> Option<PathBuf> {
        let file = self.capture.as_ref()?;
        if number == 0 {
            return Some(file.clone());
        }
        let mut name = file.clone().into_os_string();
        name.push(format!(".{number}"));
        Some(name.into())
    }

    /// The number of the network that publishes ports.
    pub fn publisher(&self) -> usize {
        let user = |spec: &Spec| matches!(spec.kind, Kind::User { .. });
        self.networks().iter().position(user).unwrap_or(0)
    }
}
