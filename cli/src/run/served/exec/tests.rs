//! A command's client and its agent, both played.

use std::os::unix::net::UnixStream;

use crossbeam_channel::unbounded;

use super::*;
use crate::channel::News;

const ID: SessionId = SessionId(4);

/// Carries a command; the story has both ends.
fn carried(story: impl FnOnce(Connection, Sender<Reply>, Receiver<Request>)) -> bool {
    let (near, far) = UnixStream::pair().unwrap();
    let (say, replies) = unbounded();
    let (requests, heard) = unbounded();
    let (news, left) = unbounded();
    let line = Line { id: ID, replies, requests, news };
    let exec = Exec { argv: vec![Word::Text("true".into())], env: vec![], directory: None, terminal: None };
    let command = command(exec).unwrap();
    let carrier = thread::spawn(move || carry(&line, command, Connection::new(far).unwrap()));
    story(Connection::new(near).unwrap(), say, heard);
    carrier.join().unwrap();
    matches!(left.try_recv(), Ok(News::Goes(ID)))
}

fn started(say: &Sender<Reply>, heard: &Receiver<Request>) {
    say.send(Reply::Hello { version: VERSION }).unwrap();
    assert!(matches!(heard.recv().unwrap(), Request::Start { session: ID, .. }));
    say.send(Reply::Started { session: ID, pid: 9 }).unwrap();
}

#[test]
fn from_the_start_to_the_status() {
    let left = carried(|mut client, say, heard| {
        started(&say, &heard);
        let mut hear = || client.reader.receive::<FromCommand>().unwrap();
        assert_eq!(hear(), Some(FromCommand::Started { pid: 9 }));
        client.writer.send(&ToCommand::Input { bytes: Bytes(b"in".to_vec()) }).unwrap();
        assert_eq!(heard.recv().unwrap(), Request::Stdin { session: ID, bytes: b"in".to_vec() });
        client.writer.send(&ToCommand::Signal { number: 2 }).unwrap();
        assert_eq!(heard.recv().unwrap(), Request::Signal { session: ID, signal: 2 });
        say.send(Reply::Stderr { session: ID, bytes: b"\xff".to_vec() }).unwrap();
        assert_eq!(hear(), Some(FromCommand::ErrorOutput { bytes: Bytes(b"\xff".to_vec()) }));
        client.writer.send(&ToCommand::Taken { bytes: 1 }).unwrap();
        assert_eq!(heard.recv().unwrap(), Request::OutputTaken { session: ID, bytes: 1 });
        say.send(Reply::Exited { session: ID, status: Status::Signal(2) }).unwrap();
        assert_eq!(hear(), Some(FromCommand::Killed { signal: 2 }));
        assert_eq!(hear(), None);
    });
    assert!(left);
}

#[test]
fn a_client_that_goes_or_breaks_the_rules_is_left() {
    for bad in [ToCommand::Input { bytes: Bytes(vec![0; DATA_CHUNK + 1]) }, ToCommand::EndOfInput {}] {
        let left = carried(|mut client, say, heard| {
            started(&say, &heard);
            let _ = client.writer.send(&bad);
            drop(client);
        });
        assert!(left);
    }
}

#[test]
fn a_guest_that_starts_anew_takes_the_command_with_it() {
    carried(|mut client, say, heard| {
        started(&say, &heard);
        say.send(Reply::Hello { version: VERSION }).unwrap();
        client.reader.receive::<FromCommand>().unwrap();
        assert_eq!(client.reader.receive::<FromCommand>().unwrap(), Some(FromCommand::Gone {}));
    });
    carried(|mut client, say, _heard| {
        say.send(Reply::Hello { version: VERSION + 1 }).unwrap();
        assert!(matches!(client.reader.receive::<FromCommand>().unwrap(), Some(FromCommand::Failed { .. })));
    });
}

#[test]
fn commands_that_cannot_be() {
    let word = |text: &str| Word::Text(text.into());
    let exec = Exec { argv: vec![word("true")], env: vec![], directory: None, terminal: None };
    command(exec.clone()).unwrap();
    for bad in [
        Exec { argv: vec![], ..exec.clone() },
        Exec { argv: vec![word("a\0b")], ..exec.clone() },
        Exec { argv: vec![word(&"x".repeat(70_000))], ..exec.clone() },
        Exec { env: vec![(word("A=B"), word("c"))], ..exec.clone() },
        Exec { env: vec![(word(""), word("c"))], ..exec },
    ] {
        assert_eq!(command(bad).unwrap_err().kind, ProblemKind::Invalid);
    }
}
