//! The console for a client.

use std::thread;
use std::time::Duration;

use control::{Bytes, Connection, FromConsole, Reader, ToConsole};
use crossbeam_channel::{Receiver, bounded, select};
use machine::board::ConsoleInput;

use crate::console::Tapped;

/// How often a port that is full is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// How often in a row, before what was typed is lost, as on a real line.
const TRIES: u32 = 500;

/// Carries the stream to its end.
pub fn carry(tapped: &Receiver<Tapped>, input: &ConsoleInput, connection: Connection) {
    let Connection { reader, mut writer } = connection;
    let (here, is_gone) = bounded::<()>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            let _here = here;
            type_in(reader, input);
        });
        loop {
            let event = select! {
                recv(tapped) -> piece => match piece {
                    Ok(Tapped::Output(bytes)) => FromConsole::Output { bytes: Bytes(bytes) },
                    Ok(Tapped::Lost(bytes)) => FromConsole::Lost { bytes },
                    Err(_) => break,
                },
                recv(is_gone) -> _ => break,
            };
            if writer.send(&event).is_err() {
                break;
            }
        }
        // So that the other thread ends, too.
        writer.close();
    });
}

fn type_in(mut reader: Reader, input: &ConsoleInput) {
    while let Ok(Some(ToConsole::Input { bytes: Bytes(bytes) })) = reader.receive() {
        let mut rest = &bytes[..];
        for _ in 0..TRIES {
            rest = &rest[input.send(rest)..];
            if rest.is_empty() {
                break;
            }
            thread::sleep(RETRY);
        }
    }
}
