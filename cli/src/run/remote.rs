//! A command in a machine that runs: the same loop, whose guest is at the other end of a control socket.

use std::ffi::{CStr, OsStr};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use agent::{Command, Reply, Request, SessionId, Status as CommandStatus, VERSION};
use control::{
    Bytes, Client, Connection, Exec, FromCommand, Reader, Registry, ToCommand, WindowSize, Word, Writer,
};
use crossbeam_channel::{Receiver, Sender, bounded, never, unbounded};

use super::boot::Boot;
use super::command::{CommandTalk, Wish};
use super::driver::{Driver, Guest, Limits, User};
use super::ending::{Context, Ending};
use super::status::Status;
use crate::args::ExecArgs;
use crate::channel::Line;
use crate::failure::Failure;
use crate::output::Output;
use crate::terminal::Raw;
use crate::{input, signals};

/// The command's number on this side; it has another in the machine.
const ID: SessionId = SessionId(1);
/// Requests under way.
const UNDER_WAY: usize = 64;

/// Runs a command in a machine that runs. Gives its exit status.
pub fn exec(args: &ExecArgs) -> Result<u8, Failure> {
    let is_terminal = io::stdin().is_terminal();
    if args.tty && !is_terminal {
        return Err(Failure::usage("--tty gives the command this terminal, and standard input is none"));
    }
    let tty = args.tty || args.command.is_empty() && is_terminal;
    let wish = Wish { argv: args.command.clone(), tty };
    let client = Client::connect(&Registry::open()?, &args.name)?;
    let connection = client.stream(&control::Request::Exec(exec_of(wish.clone().command())))?;
    let (guest, line) = guest(connection).map_err(super::cannot("start a thread for the command"))?;
    let guest = Guest { agent: Some(line), ..guest };
    let signals = signals::listen().map_err(super::cannot("listen to signals"))?;
    let talk = CommandTalk::new(ID, wish, Box::new(|| Boot::Silent)).map_err(Failure::usage)?.beside_others();
    let input = input::listen().map_err(super::cannot("read standard input"))?;
    let output = Output::start().map_err(super::cannot("write standard output"))?;
    let raw = tty.then(Raw::enter).transpose().map_err(super::cannot("set the terminal to raw mode"))?;
    let user = User { input, signals, orders: never(), output, raw };
    let limits = Limits { boot: Duration::MAX, whole: None };
    let finished = Driver::new(guest, user, Box::new(talk), Arc::new(Status::new()), limits).run();
    let context = Context {
        timeout: None,
        boot_timeout: Duration::MAX,
        log: None,
        awaits_command: true,
        selftest: false,
    };
    context.conclude(finished)
}

fn exec_of(command: Command) -> Exec {
    let word = |text: &CStr| Word::from(OsStr::from_bytes(text.to_bytes()));
    Exec {
        argv: command.argv.iter().map(|text| word(text)).collect(),
        env: command.env.iter().map(|variable| (word(&variable.name), word(&variable.value))).collect(),
        directory: None,
        terminal: command.tty.map(|size| WindowSize { rows: size.rows, columns: size.cols }),
    }
}

/// The guest as the loop knows one, and the line to the command.
fn guest(connection: Connection) -> io::Result<(Guest, Line)> {
    let Connection { reader, writer } = connection;
    let (say, replies) = unbounded();
    let (requests, to_send) = bounded(UNDER_WAY);
    let (off, is_off) = bounded(1);
    let (stop, stopped) = bounded::<()>(1);
    // The machine has taken the request: for the loop that is the agent's Hello.
    let _ = say.send(Reply::Hello { version: VERSION });
    thread::Builder::new().name("hear".to_owned()).spawn(move || hear(reader, &say, &off))?;
    thread::Builder::new().name("say".to_owned()).spawn(move || send(writer, &to_send, &stopped))?;
    let stop = Box::new(move || {
        let _ = stop.try_send(());
    });
    let guest = Guest {
        console: never(),
        agent: None,
        com1: Box::new(<[u8]>::len),
        stop,
        off: is_off,
        restart: None,
    };
    let (news, _) = unbounded();
    Ok((guest, Line { id: ID, replies, requests, news }))
}

/// Until the end of the connection.
fn hear(mut reader: Reader, say: &Sender<Reply>, off: &Sender<Ending>) {
    let session = ID;
    let ending = loop {
        let reply = match reader.receive() {
            Ok(Some(FromCommand::Started { pid })) => Reply::Started { session, pid },
            Ok(Some(FromCommand::Output { bytes: Bytes(bytes) })) => Reply::Stdout { session, bytes },
            Ok(Some(FromCommand::ErrorOutput { bytes: Bytes(bytes) })) => Reply::Stderr { session, bytes },
            Ok(Some(FromCommand::Taken { bytes })) => Reply::StdinTaken { session, bytes },
            Ok(Some(FromCommand::Exited { status })) => {
                Reply::Exited { session, status: CommandStatus::Code(status) }
            }
            Ok(Some(FromCommand::Killed { signal })) => {
                Reply::Exited { session, status: CommandStatus::Signal(signal) }
            }
            Ok(Some(FromCommand::Failed { status: code, message })) => {
                Reply::Failed { session, code, message }
            }
            Ok(Some(FromCommand::Gone {}) | None) => break Ending::AgentGone,
            Err(error) => break Ending::Host(format!("the machine's control socket: {error}")),
        };
        if say.send(reply).is_err() {
            break Ending::AgentGone;
        }
    };
    let _ = off.send(ending);
}

/// Until nobody has anything to say any more.
fn send(mut writer: Writer, requests: &Receiver<Request>, stopped: &Receiver<()>) {
    loop {
        let request = crossbeam_channel::select! {
            recv(requests) -> request => request,
            recv(stopped) -> _ => break,
        };
        let event = match request {
            Ok(Request::Stdin { bytes, .. }) => ToCommand::Input { bytes: Bytes(bytes) },
            Ok(Request::StdinEof { .. }) => ToCommand::EndOfInput {},
            Ok(Request::Resize { size, .. }) => {
                ToCommand::Resize(WindowSize { rows: size.rows, columns: size.cols })
            }
            Ok(Request::Signal { signal: number, .. }) => ToCommand::Signal { number },
            Ok(Request::OutputTaken { bytes, .. }) => ToCommand::Taken { bytes },
            // The machine has been asked for the command already, and goes on after it.
            Ok(Request::Hello { .. } | Request::Start { .. } | Request::PowerOff | Request::Reboot) => {
                continue;
            }
            Err(_) => break,
        };
        if writer.send(&event).is_err() {
            break;
        }
    }
    writer.close();
}
