//! What somebody on the host says first: `CONNECT 52\n`.

use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{MsgFlags, recv};

/// Bytes of the longest that makes sense, and some.
const MOST: usize = 32;
const WORD: &[u8] = b"CONNECT ";

/// What has been said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The guest's port.
    Port(u32),
    /// Not all of it.
    Unfinished,
    /// Something else, or an end.
    Wrong,
}

/// Reads the greeting, and nothing of what follows it; nothing at all unless it is there as a whole.
pub fn read(socket: &mut UnixStream) -> Greeting {
    let mut bytes = [0; MOST];
    let len = match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Ok(0) => return Greeting::Wrong,
        Ok(len) => len,
        Err(errno) if std::io::Error::from(errno).kind() == ErrorKind::WouldBlock => {
            return Greeting::Unfinished;
        }
        Err(_) => return Greeting::Wrong,
    };
    let Some(end) = bytes[..len].iter().position(|byte| *byte == b'\n') else {
        return if len < MOST { Greeting::Unfinished } else { Greeting::Wrong };
    };
    match parse(&bytes[..end]) {
        Some(port) if socket.read_exact(&mut bytes[..=end]).is_ok() => Greeting::Port(port),
        _ => Greeting::Wrong,
    }
}

fn parse(line: &[u8]) -> Option<u32> {
    let digits = line.strip_prefix(WORD)?;
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_port_is_read_and_what_follows_stays() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        assert_eq!(read(&mut here), Greeting::Unfinished);
        there.write_all(b"CONN").unwrap();
        assert_eq!(read(&mut here), Greeting::Unfinished);
        there.write_all(b"ECT 4294967295\nand more").unwrap();
        assert_eq!(read(&mut here), Greeting::Port(u32::MAX));
        let mut rest = [0; 20];
        let len = here.read(&mut rest).unwrap();
        assert_eq!(&rest[..len], b"and more");
    }

    #[test]
    fn anything_else_is_wrong() {
        for line in [
            "CONNECT\n",
            "CONNECT \n",
            "CONNECT +1\n",
            "CONNECT 4294967296\n",
            "CONNECT 1 \n",
            "connect 1\n",
            "GET / HTTP/1.1\r\n",
            "CONNECT 00000000000000000000000000000001\n",
        ] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            there.write_all(line.as_bytes()).unwrap();
            assert_eq!(read(&mut here), Greeting::Wrong, "{line:?}");
        }
        let (mut here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(read(&mut here), Greeting::Wrong);
    }
}
