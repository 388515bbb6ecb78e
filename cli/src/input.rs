//! Standard input, read by a thread.

use std::io::{self, Read};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

/// Begins to read. Gives pieces of at most one protocol chunk; disconnected at the end of the input. No more is read than
/// is taken, but for one piece.
pub fn listen() -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = bounded(0);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut bytes = [0; agent::DATA_CHUNK];
        loop {
            match io::stdin().read(&mut bytes) {
                Ok(count @ 1..) if sender.send(bytes[..count].to_vec()).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The end, or a terminal that is gone.
                _ => return,
            }
        }
    })?;
    Ok(receiver)
}
