//! The guest's name, its loopback interface, and the network that the host describes.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use nix::unistd::sethostname;
use ringfence_agent::Network;

use crate::{cmdline, console, syscall};

const HOSTNAME: &str = "ringfence";

/// Names the guest, brings `lo` up and connects to the host's network; what fails is said and passed over.
pub fn set_up() {
    if let Err(error) = sethostname(HOSTNAME) {
        console::say(&format!("cannot set the hostname: {error}"));
    }
    // Any socket will do to speak of interfaces by, and one bound to the wildcard address needs none of them
    // up.
    let up = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| syscall::bring_up(&socket, "lo"));
    if let Err(error) = up {
        console::say(&format!("cannot bring up the loopback interface: {error}"));
    }
    if let Some(network) = cmdline::network()
        && let Err(error) = connect(&network)
    {
        console::say(&format!("cannot set up {}: {error}", network.interface));
    }
}

fn connect(network: &Network) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    syscall::set_address(&socket, &network.interface, network.address, network.mask())?;
    syscall::bring_up(&socket, &network.interface)?;
    syscall::add_default_route(&socket, network.router)?;
    std::fs::write("/etc/resolv.conf", format!("nameserver {}\n", network.resolver))
}
