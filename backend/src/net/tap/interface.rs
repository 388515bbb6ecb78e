//! Interfaces of the host's, by the requests that netdevice(7) describes.

#![allow(unsafe_code)] // ioctl: the request's structure has the size that the kernel takes

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Bytes of an interface's name, with the zero at its end.
const NAME: usize = libc::IFNAMSIZ;

/// `SIOCBRADDIF` (linux/sockios.h).
const ADD_PORT: libc::Ioctl = 0x89a2;

/// The name of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// A name that the kernel takes, for what it is; `None` for others.
    pub fn new(name: &str) -> Option<Self> {
        // A colon makes an alias of it, a `%` a pattern.
        let good = |byte: u8| byte.is_ascii_graphic() && !b"/:%,".contains(&byte);
        let fits = (1..NAME).contains(&name.len()) && !matches!(name, "." | "..");
        (fits && name.bytes().all(good)).then(|| Self(name.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `struct ifreq`: a name, and a value whose kind depends on the request.
#[repr(C, align(8))]
pub(super) struct Request {
    name: [u8; NAME],
    value: [u8; 24],
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

impl Request {
    /// A request about the interface of this name, or of a new one by a pattern.
    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; NAME];
        let len = name.len().min(NAME - 1);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Self { name: bytes, value: [0; 24] }
    }

    pub(super) fn with(mut self, value: &[u8]) -> Self {
        self.value[..value.len()].copy_from_slice(value);
        self
    }

    /// The name as the kernel has it now.
    pub(super) fn name(&self) -> String {
        let len = self.name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        String::from_utf8_lossy(&self.name[..len]).into_owned()
    }

    fn int(&self) -> i32 {
        let [a, b, c, d, ..] = self.value;
        i32::from_ne_bytes([a, b, c, d])
    }

    fn short(&self) -> i16 {
        i16::from_ne_bytes([self.value[0], self.value[1]])
    }

    /// Makes the request.
    pub(super) fn make(&mut self, fd: impl AsFd, code: libc::Ioctl) -> io::Result<()> {
        // SAFETY: the requests of this file and of `tap` read and write a `struct ifreq`, which this is.
        let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), code, std::ptr::from_mut(self)) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// An interface of the host's.
#[derive(Debug)]
pub(super) struct Interface {
    name: String,
    socket: OwnedFd,
}

impl Interface {
    /// The one of that name, if it is there.
    pub(super) fn find(name: &str) -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        let interface = Self { name: name.to_owned(), socket };
        interface.index()?;
        Ok(interface)
    }

    fn ask(&self, code: libc::Ioctl, value: &[u8]) -> io::Result<Request> {
        let mut request = Request::new(&self.name).with(value);
        request.make(&self.socket, code)?;
        Ok(request)
    }

    /// Its number.
    pub(super) fn index(&self) -> io::Result<i32> {
        Ok(self.ask(libc::SIOCGIFINDEX, &[])?.int())
    }

    /// Bytes of its longest packet.
    pub(super) fn mtu(&self) -> io::Result<i32> {
        Ok(self.ask(libc::SIOCGIFMTU, &[])?.int())
    }

    /// Sets that.
    pub(super) fn set_mtu(&self, mtu: i32) -> io::Result<()> {
        self.ask(libc::SIOCSIFMTU, &mtu.to_ne_bytes()).map(drop)
    }

    /// Sets its hardware address.
    pub(super) fn set_mac(&self, mac: [u8; 6]) -> io::Result<()> {
        let family = libc::ARPHRD_ETHER.to_ne_bytes();
        self.ask(libc::SIOCSIFHWADDR, &[&family[..], &mac].concat()).map(drop)
    }

    /// Brings it up, if it is not.
    pub(super) fn bring_up(&self) -> io::Result<()> {
        let flags = self.ask(libc::SIOCGIFFLAGS, &[])?.short();
        let up = libc::IFF_UP as i16;
        if flags & up != 0 {
            return Ok(());
        }
        self.ask(libc::SIOCSIFFLAGS, &(flags | up).to_ne_bytes()).map(drop)
    }

    /// Puts another interface into this bridge. It fails with `EOPNOTSUPP` if this is none.
    pub(super) fn add_port(&self, port: &Self) -> io::Result<()> {
        self.ask(ADD_PORT, &port.index()?.to_ne_bytes()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        for good in ["tap0", "rf-1.x", "123456789012345"] {
            assert_eq!(InterfaceName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "1234567890123456", "a/b", "tap%d", "a b", "eth0:1", "é", "a,b", "a\0"] {
            assert_eq!(InterfaceName::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_loopback_is_found() {
        let loopback = Interface::find("lo").unwrap();
        assert!(loopback.index().unwrap() > 0 && loopback.mtu().unwrap() > 0);
        let error = Interface::find("no-such").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
