//! What the guest writes, on its way to standard output and standard error.
//!
//! A thread writes, so that a reader who does not read (a pager, a stopped terminal) holds up the guest but never
//! the loop, which still hears signals.

use std::io::{self, Write};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Which of our two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where to.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The loop's end of the thread that writes.
#[derive(Debug)]
pub struct Output {
    /// Takes pieces. When it is gone, and all is written, the thread ends.
    pub chunks: Sender<Chunk>,
    /// What failed: once a stream, whose output then goes nowhere. Disconnected when the thread has ended.
    pub failed: Receiver<(Stream, io::Error)>,
}

impl Output {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        Self::start_to(io::stdout(), io::stderr())
    }

    fn start_to(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> io::Result<Self> {
        let (chunks, incoming) = bounded::<Chunk>(4);
        let (failures, failed) = bounded(2);
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut out: Option<Box<dyn Write>> = Some(Box::new(out));
            let mut err: Option<Box<dyn Write>> = Some(Box::new(err));
            for Chunk { stream, bytes } in incoming {
                let place = match stream {
                    Stream::Out => &mut out,
                    Stream::Err => &mut err,
                };
                if let Some(writer) = place
                    && let Err(error) = writer.write_all(&bytes).and_then(|()| writer.flush())
                {
                    *place = None;
                    let _ = failures.send((stream, error));
                }
            }
        })?;
        Ok(Self { chunks, failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::pipe;

    fn chunk(stream: Stream, bytes: &[u8]) -> Chunk {
        Chunk { stream, bytes: bytes.to_vec() }
    }

    #[test]
    fn all_is_written_apart_and_in_order() {
        let ((mut out, out_end), (mut err, err_end)) = (pipe().unwrap(), pipe().unwrap());
        let output = Output::start_to(out_end, err_end).unwrap();
        for piece in [chunk(Stream::Out, b"1"), chunk(Stream::Err, b"2"), chunk(Stream::Out, b"3")] {
            output.chunks.send(piece).unwrap();
        }
        drop(output.chunks);
        assert!(output.failed.recv().is_err(), "the thread ends without a failure");
        assert_eq!(io::read_to_string(&mut out).unwrap(), "13");
        assert_eq!(io::read_to_string(&mut err).unwrap(), "2");
    }

    #[test]
    fn a_reader_that_is_gone_is_told_once() {
        let ((out, out_end), (mut err, err_end)) = (pipe().unwrap(), pipe().unwrap());
        drop(out);
        let output = Output::start_to(out_end, err_end).unwrap();
        for piece in [chunk(Stream::Out, b"1"), chunk(Stream::Out, b"2"), chunk(Stream::Err, b"3")] {
            output.chunks.send(piece).unwrap();
        }
        drop(output.chunks);
        let (stream, error) = output.failed.recv().unwrap();
        assert_eq!((stream, error.kind()), (Stream::Out, io::ErrorKind::BrokenPipe));
        assert!(output.failed.recv().is_err());
        assert_eq!(io::read_to_string(&mut err).unwrap(), "3");
    }
}
