//! The guest's name and its loopback interface.

use std::net::{Ipv4Addr, UdpSocket};

use nix::unistd::sethostname;

use crate::{console, syscall};

const HOSTNAME: &str = "ringfence";

/// Names the guest and brings `lo` up; what fails is said and passed over.
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
}
