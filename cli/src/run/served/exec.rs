//! A command in the guest for a client: what he says goes to the agent, and what it says to him.
//!
//! Nothing is kept here. How much is under way is bounded by the command's two windows, which reach from end to end.

use std::ffi::CString;
use std::thread;
use std::time::Duration;

use agent::{Command, DATA_CHUNK, Message, Reply, Request, SessionId, Status, VERSION, Variable};
use control::{Bytes, Connection, Exec, FromCommand, Problem, ProblemKind, Reader, ToCommand, Word, Writer};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::channel::Line;

/// How long a guest may take nothing before the client is dropped.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the agent is asked to run.
pub fn command(exec: Exec) -> Result<Command, Problem> {
    let invalid = |text: &str| Problem::new(ProblemKind::Invalid, text);
    let text = |word: Word| CString::new(word.into_bytes()).map_err(|_| invalid("a word has a NUL in it"));
    let Exec { argv, env, directory, terminal } = exec;
    if argv.is_empty() {
        return Err(invalid("argv is empty"));
    }
    let variable = |(name, value)| {
        let variable = Variable { name: text(name)?, value: text(value)? };
        match variable.name.is_empty() || variable.name.as_bytes().contains(&b'=') {
            true => Err(invalid("a variable's name is empty or has a `=` in it")),
            false => Ok(variable),
        }
    };
    let command = Command {
        argv: argv.into_iter().map(text).collect::<Result<_, _>>()?,
        env: env.into_iter().map(variable).collect::<Result<_, _>>()?,
        cwd: directory.map(text).transpose()?.unwrap_or_default(),
        tty: terminal.map(|size| agent::WindowSize { rows: size.rows, cols: size.columns }),
    };
    let start = Request::Start { session: SessionId(0), command: command.clone() };
    start.encode(&mut Vec::new()).map_err(|error| invalid(&error.to_string()))?;
    Ok(command)
}

/// Carries the conversation to its end.
pub fn carry(line: &Line, command: Command, connection: Connection) {
    let Connection { reader, mut writer } = connection;
    let (here, is_gone) = bounded::<()>(0);
    thread::scope(|scope| {
        let (id, requests) = (line.id, &line.requests);
        scope.spawn(move || {
            let _here = here;
            hear_client(id, reader, requests);
        });
        hear_agent(line, command, &mut writer, &is_gone);
        // So that the other thread ends, too.
        writer.close();
    });
}

/// Until the client is gone, or makes no sense.
fn hear_client(session: SessionId, mut reader: Reader, requests: &Sender<Request>) {
    loop {
        let request = match reader.receive() {
            Ok(Some(ToCommand::Input { bytes: Bytes(bytes) })) if bytes.len() <= DATA_CHUNK => {
                Request::Stdin { session, bytes }
            }
            Ok(Some(ToCommand::EndOfInput {})) => Request::StdinEof { session },
            Ok(Some(ToCommand::Resize(size))) => {
                let size = agent::WindowSize { rows: size.rows, cols: size.columns };
                Request::Resize { session, size }
            }
            Ok(Some(ToCommand::Signal { number: signal })) => Request::Signal { session, signal },
            Ok(Some(ToCommand::Taken { bytes })) => Request::OutputTaken { session, bytes },
            Ok(Some(ToCommand::Input { .. })) => {
                tracing::warn!("a client sends more input at once than it may; it is left");
                return;
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "a client of a command is left");
                return;
            }
        };
        if requests.send_timeout(request, PATIENCE).is_err() {
            tracing::warn!("the guest takes nothing; a command's client is left");
            return;
        }
    }
}

/// Until the command is over, or the client gone.
fn hear_agent(line: &Line, command: Command, writer: &mut Writer, is_gone: &Receiver<()>) {
    let mut command = Some(command);
    loop {
        let reply = select! {
            recv(line.replies) -> reply => reply.ok(),
            recv(is_gone) -> _ => return,
        };
        let event = match (reply, command.take()) {
            (Some(Reply::Hello { version: VERSION }), Some(command)) => {
                let start = Request::Start { session: line.id, command };
                if line.requests.send_timeout(start, PATIENCE).is_err() {
                    return;
                }
                continue;
            }
            (Some(Reply::Hello { version }), Some(_)) => {
                let message =
                    format!("the guest's agent speaks version {version} of its protocol, not {VERSION}");
                FromCommand::Failed { status: 126, message }
            }
            (Some(reply), None) => event(reply),
            (Some(_), early) => {
                command = early;
                continue;
            }
            (None, _) => FromCommand::Gone {},
        };
        let is_last = !matches!(
            event,
            FromCommand::Started { .. }
                | FromCommand::Output { .. }
                | FromCommand::ErrorOutput { .. }
                | FromCommand::Taken { .. }
        );
        if writer.send(&event).is_err() || is_last {
            return;
        }
    }
}

fn event(reply: Reply) -> FromCommand {
    match reply {
        // Another one than the first: the guest starts anew.
        Reply::Hello { .. } => FromCommand::Gone {},
        Reply::Started { pid, .. } => FromCommand::Started { pid },
        Reply::Stdout { bytes, .. } => FromCommand::Output { bytes: Bytes(bytes) },
        Reply::Stderr { bytes, .. } => FromCommand::ErrorOutput { bytes: Bytes(bytes) },
        Reply::StdinTaken { bytes, .. } => FromCommand::Taken { bytes },
        Reply::Exited { status: Status::Code(status), .. } => FromCommand::Exited { status },
        Reply::Exited { status: Status::Signal(signal), .. } => FromCommand::Killed { signal },
        Reply::Failed { code, message, .. } => FromCommand::Failed { status: code, message },
    }
}

#[cfg(test)]
mod tests;
