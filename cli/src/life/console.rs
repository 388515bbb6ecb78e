//! `ringfence console`.

use std::io::{self, IsTerminal, Write};
use std::thread;

use control::{Bytes, FromConsole, Name, Reader, Request, ToConsole};
use crossbeam_channel::{Receiver, bounded, never, select};
use signal_hook::consts::{SIGCONT, SIGWINCH};

use super::connect;
use crate::exit::{Exit, by_signal};
use crate::failure::Failure;
use crate::terminal::{self, Raw};
use crate::{input, message, signals};

/// Connects this terminal to a machine's console.
pub fn console(name: &Name) -> Result<u8, Failure> {
    let connection = connect(name)?.stream(&Request::Console {})?;
    let cannot = |what| move |error: io::Error| Failure::host(format!("cannot {what}: {error}"));
    let signals = signals::listen().map_err(cannot("listen to signals"))?;
    let mut typed = input::listen().map_err(cannot("read standard input"))?;
    let raw = io::stdin().is_terminal().then(Raw::enter).transpose();
    let raw = raw.map_err(cannot("set the terminal to raw mode"))?;
    message::say(format_args!("the console of {name}; Ctrl-] leaves"));
    let mut writer = connection.writer;
    let shown = show(connection.reader).map_err(cannot("start a thread"))?;
    loop {
        select! {
            recv(typed) -> bytes => {
                let Ok(bytes) = bytes else {
                    // A script's input has ended, its output has not.
                    typed = never();
                    continue;
                };
                let (bytes, leaves) = terminal::before_leaving(&bytes);
                let sent = writer.send(&ToConsole::Input { bytes: Bytes(bytes.to_vec()) });
                if leaves {
                    break;
                }
                if sent.is_err() {
                    typed = never();
                }
            }
            recv(shown) -> failure => {
                drop(raw);
                return match failure {
                    Ok(error) => Err(Failure::new(Exit::Failure, error)),
                    Err(_) => {
                        message::say(format_args!("{name} is off"));
                        Ok(0)
                    }
                };
            }
            recv(signals) -> signal => match signal {
                Ok(SIGWINCH) => {}
                Ok(SIGCONT) => raw.iter().for_each(Raw::renew),
                Ok(signal) => return Ok(by_signal(signal)),
                Err(_) => break,
            },
        }
    }
    drop(raw);
    message::say(format_args!("left the console; {name} goes on"));
    Ok(0)
}

/// Shows what the guest writes. The channel ends with it, or gives what failed.
fn show(mut reader: Reader) -> io::Result<Receiver<String>> {
    let (failed, shown) = bounded(1);
    thread::Builder::new().name("console".to_owned()).spawn(move || {
        let mut out = io::stdout();
        loop {
            let bytes = match reader.receive() {
                Ok(Some(FromConsole::Output { bytes: Bytes(bytes) })) => bytes,
                Ok(Some(FromConsole::Lost { bytes })) => {
                    format!("\r\n[{bytes} bytes are lost]\r\n").into_bytes()
                }
                Ok(None) => return,
                Err(error) => {
                    let _ = failed.send(error.to_string());
                    return;
                }
            };
            if let Err(error) = out.write_all(&bytes).and_then(|()| out.flush()) {
                let _ = failed.send(format!("cannot write standard output: {error}"));
                return;
            }
        }
    })?;
    Ok(shown)
}
