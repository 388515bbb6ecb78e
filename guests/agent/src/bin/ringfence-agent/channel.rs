//! The byte channel to the host, and what waits to go out on it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{B115200, O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, ControlFlags, FlushArg, SetArg, SpecialCharacterIndices};
use ringfence_agent::{Decoder, Message, ProtocolError, Reply, Request, VERSION};

use crate::console;

/// The agent reads no more output from commands while so many bytes wait for the host.
const OUTBOX: usize = 32 << 10;

/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// An open channel, in raw mode and never blocking.
pub struct Channel {
    device: File,
    decoder: Decoder<Request>,
    outbox: Vec<u8>,
}

impl Channel {
    /// Opens the device, makes it raw if it is a terminal, and says Hello.
    ///
    /// # Errors
    /// Where the device cannot be opened or written to. A serial port without hardware behind it has a device
    /// node, and opens; writing to it is what fails (EIO).
    pub fn open(path: &Path) -> io::Result<Self> {
        let device =
            OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY | O_NONBLOCK).open(path)?;
        match make_raw(&device) {
            Ok(()) | Err(Errno::ENOTTY | Errno::EINVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let mut channel = Self { device, decoder: Decoder::new(), outbox: Vec::new() };
        channel.hello();
        channel.flush()?;
        Ok(channel)
    }

    /// Queues a Hello.
    pub fn hello(&mut self) {
        self.send(&Reply::Hello { version: VERSION });
    }

    /// Queues a message; [`flush`](Self::flush) sends it.
    pub fn send(&mut self, reply: &Reply) {
        if let Err(error) = reply.encode(&mut self.outbox) {
            // Nothing that the agent says can be so long.
            console::fatal(&error.to_string());
        }
    }

    /// Whether more output may be queued.
    pub fn has_room(&self) -> bool {
        self.outbox.len() < OUTBOX
    }

    /// What `poll` is to wait for.
    pub fn interest(&self) -> PollFlags {
        if self.outbox.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT }
    }

    /// Writes what the device takes now.
    ///
    /// # Errors
    /// The device's.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.outbox.len() {
            match self.device.write(&self.outbox[sent..]) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outbox.drain(..sent);
        Ok(())
    }

    /// Writes all that is queued, for as long as [`LAST_WORD`].
    pub fn finish(&mut self) {
        let deadline = Instant::now() + LAST_WORD;
        while self.flush().is_ok() && !self.outbox.is_empty() && Instant::now() < deadline {
            let mut wait = [PollFd::new(self.device.as_fd(), PollFlags::POLLOUT)];
            // A failure shows at the next flush.
            let _ = poll(&mut wait, PollTimeout::from(100_u8));
        }
    }

    /// Takes in what the device has now. False at its end.
    ///
    /// # Errors
    /// The device's.
    pub fn receive(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        match self.device.read(&mut bytes) {
            Ok(count) => {
                self.decoder.push(&bytes[..count]);
                Ok(count > 0)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// The next message among what was taken in.
    ///
    /// # Errors
    /// As the decoder's.
    pub fn next(&mut self) -> Result<Option<Request>, ProtocolError> {
        self.decoder.next()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Raw mode at 115200 baud: no echo, no signals, no translation, no modem lines. What came in before was
/// either echoed or meant for nobody, and goes.
fn make_raw(device: &File) -> nix::Result<()> {
    let mut settings = termios::tcgetattr(device)?;
    termios::cfmakeraw(&mut settings);
    // Linux keeps the rate among the control flags (termios-baud.h). Not by cfsetspeed(): the libc crate asks
    // for a versioned symbol there, which the static library does not have.
    let rate = ControlFlags::from_bits_retain(B115200);
    settings.control_flags &= !(ControlFlags::CBAUD | ControlFlags::HUPCL | ControlFlags::CRTSCTS);
    settings.control_flags |= rate | ControlFlags::CLOCAL | ControlFlags::CREAD;
    settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    termios::tcsetattr(device, SetArg::TCSANOW, &settings)?;
    termios::tcflush(device, FlushArg::TCIOFLUSH)
}
