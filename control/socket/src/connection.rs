//! A connection: one JSON object a line, both ways.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes in a line, its end included.
pub const LONGEST_LINE: usize = 256 << 10;
/// How long a line may take from its first byte to its last, and a peer that does not read to read again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Read at once.
const PIECE: usize = 16 << 10;

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The peer never ends its line.
    #[error("a line is longer than {LONGEST_LINE} bytes")]
    TooLong,
    /// The peer takes too long for it.
    #[error("a line was begun and not ended within {} s", PATIENCE.as_secs())]
    TooSlow,
    /// The peer says nothing.
    #[error("it says nothing; its process may be stopped, or stuck")]
    Silence,
    /// The peer went away in the middle of one.
    #[error("a line was begun and not ended")]
    Cut,
    /// It is not what was expected.
    #[error("not of the protocol: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The host.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Receives.
#[derive(Debug)]
pub struct Reader {
    stream: UnixStream,
    bytes: Vec<u8>,
    /// So many of them hold no line's end.
    searched: usize,
}

impl Reader {
    /// The next message; `None` where the peer has gone. Waits for it as long as it takes.
    ///
    /// # Errors
    /// [`LineError`]; after one, nothing that follows is to be trusted.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        self.receive_by(None)
    }

    /// The same from a peer that should say something by a certain time. It gets up to 10 s more.
    ///
    /// # Errors
    /// [`LineError`]; after one, nothing that follows is to be trusted.
    pub fn receive_by<T: DeserializeOwned>(
        &mut self,
        until: Option<Instant>,
    ) -> Result<Option<T>, LineError> {
        let mut begun = (!self.bytes.is_empty()).then(Instant::now);
        loop {
            if let Some(end) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') {
                let end = self.searched + end;
                let message = serde_json::from_slice(&self.bytes[..end]);
                self.bytes.drain(..=end);
                self.searched = 0;
                return Ok(Some(message?));
            }
            self.searched = self.bytes.len();
            if self.bytes.len() >= LONGEST_LINE {
                return Err(LineError::TooLong);
            }
            if begun.is_some_and(|begun| begun.elapsed() >= PATIENCE) {
                return Err(LineError::TooSlow);
            }
            let mut piece = [0; PIECE];
            let room = piece.len().min(LONGEST_LINE - self.bytes.len());
            match self.stream.read(&mut piece[..room]) {
                Ok(0) if self.bytes.is_empty() => return Ok(None),
                Ok(0) => return Err(LineError::Cut),
                Ok(count) => {
                    begun.get_or_insert_with(Instant::now);
                    self.bytes.extend_from_slice(&piece[..count]);
                }
                // Nothing for a while: who has begun a line is held to it, and who was to say something.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if until.is_some_and(|until| Instant::now() >= until) {
                        return Err(LineError::Silence);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Sends.
#[derive(Debug)]
pub struct Writer {
    stream: UnixStream,
}

impl Writer {
    /// Sends a message. Waits for the peer to read, for a while only unless this is a [stream](Connection::stream).
    ///
    /// # Errors
    /// Where the peer has gone, or does not read.
    pub fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }

    /// Ends the connection for both sides, also for who waits in [`Reader::receive`].
    pub fn close(&self) {
        // It may have ended already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Both ways.
#[derive(Debug)]
pub struct Connection {
    /// From the peer.
    pub reader: Reader,
    /// To the peer.
    pub writer: Writer,
}

impl Connection {
    /// Over this socket.
    ///
    /// # Errors
    /// The host's.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let writer = Writer { stream: stream.try_clone()? };
        Ok(Self { reader: Reader { stream, bytes: Vec::new(), searched: 0 }, writer })
    }

    /// From here on the peer may take its time to read: what it gets is bounded by what it asks for.
    ///
    /// # Errors
    /// The host's.
    pub fn stream(&mut self) -> io::Result<()> {
        self.writer.stream.set_write_timeout(None)
    }

    /// The peer's user and process: that which connected, or that which listens.
    ///
    /// # Errors
    /// The host's.
    pub fn peer(&self) -> io::Result<(u32, i32)> {
        peer_of(&self.writer.stream)
    }
}

/// The user and process at the other end of a socket.
pub(crate) fn peer_of(stream: &UnixStream) -> io::Result<(u32, i32)> {
    let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
    Ok((credentials.uid(), credentials.pid()))
}

/// May this user be at the other end: ourselves, or root, who could do everything anyway?
pub(crate) fn is_trusted(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;
    use proptest::prelude::*;

    fn pair() -> (UnixStream, Connection) {
        let (near, far) = UnixStream::pair().unwrap();
        (near, Connection::new(far).unwrap())
    }

    #[test]
    fn lines_however_they_are_cut() {
        let (mut near, mut far) = pair();
        let sender = std::thread::spawn(move || {
            for piece in
                [&b"{\"comm"[..], b"and\":\"info\"}\n{\"command\":\"kill\"}\n{\"command\"", b":\"pause\"}\n"]
            {
                near.write_all(piece).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let expected = [Request::Info {}, Request::Kill {}, Request::Pause {}];
        for request in expected {
            assert_eq!(far.reader.receive::<Request>().unwrap(), Some(request));
        }
        assert!(far.reader.receive::<Request>().unwrap().is_none(), "the end is the end");
        sender.join().unwrap();
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let (mut near, mut far) = pair();
        let sender = std::thread::spawn(move || near.write_all(&vec![b'x'; 2 * LONGEST_LINE]));
        assert!(matches!(far.reader.receive::<Request>(), Err(LineError::TooLong)));
        assert!(far.reader.bytes.len() <= LONGEST_LINE);
        drop(far);
        assert!(sender.join().unwrap().is_err());
    }

    #[test]
    fn a_line_that_is_cut_off_is_no_line() {
        let (mut near, mut far) = pair();
        near.write_all(b"{\"command\":\"kill\"}").unwrap();
        drop(near);
        assert!(matches!(far.reader.receive::<Request>(), Err(LineError::Cut)));
    }

    #[test]
    fn the_peer_is_known() {
        let (_near, far) = pair();
        let (user, process) = far.peer().unwrap();
        assert!(is_trusted(user) && !is_trusted(user + 12345));
        assert_eq!(process, nix::unistd::getpid().as_raw());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut near, mut far) = pair();
            near.write_all(&bytes).unwrap();
            drop(near);
            while let Ok(Some(_)) = far.reader.receive::<Request>() {}
        }
    }
}
