//! Where the machine's serial port writes the console.

use std::io::{self, Write};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Log, Taps};

/// Pieces of output under way to the loop. When they are not taken the port's thread waits, then the guest.
const UNDER_WAY: usize = 4;

/// The end of a serial port that the machine writes to.
#[derive(Debug)]
pub struct Sink {
    log: Option<Log>,
    taps: Taps,
    output: Sender<Vec<u8>>,
}

impl Sink {
    /// A sink, whose bytes also go to `log` and `taps`, and what comes out of it.
    pub fn new(log: Option<Log>, taps: Taps) -> (Self, Receiver<Vec<u8>>) {
        let (output, end) = bounded(UNDER_WAY);
        (Self { log, taps, output }, end)
    }
}

impl Write for Sink {
    /// Never fails: a console without a log, or without anyone who listens, is no reason to stop the guest.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(log) = &mut self.log
            && let Err(error) = log.write_all(bytes)
        {
            tracing::warn!(%error, path = %log.path().display(), "the console log ends here");
            self.log = None;
        }
        self.taps.write(bytes);
        let _ = self.output.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_log_and_to_the_loop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut sink, output) = Sink::new(Some(Log::create(&path).unwrap()), Taps::default());
        sink.write_all(b"Linux ").unwrap();
        sink.write_all(b"version\n").unwrap();
        drop(sink);
        assert_eq!(output.iter().collect::<Vec<_>>(), [b"Linux ".to_vec(), b"version\n".to_vec()]);
        assert_eq!(std::fs::read(path).unwrap(), b"Linux version\n");
    }

    #[test]
    fn without_anyone_who_listens_it_goes_on() {
        let (mut sink, output) = Sink::new(None, Taps::default());
        drop(output);
        for _ in 0..2 * UNDER_WAY {
            sink.write_all(b"Linux version\n").unwrap();
        }
    }
}
