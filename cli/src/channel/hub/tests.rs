//! The hub against an agent that is a few bytes.

use agent::{Command, OUTPUT_WINDOW, STDIN_WINDOW, Status};
use crossbeam_channel::{Receiver, unbounded};
use proptest::prelude::*;

use super::*;

fn hub() -> Hub {
    Hub::new(2, Arc::default())
}

fn bytes(replies: &[Reply]) -> Vec<u8> {
    let mut bytes = Vec::new();
    replies.iter().for_each(|reply| reply.encode(&mut bytes).unwrap());
    bytes
}

const HELLO: Reply = Reply::Hello { version: VERSION };

fn open(hub: &mut Hub, id: u32) -> Receiver<Reply> {
    let (sender, replies) = unbounded();
    hub.learn(News::Comes(SessionId(id), sender));
    replies
}

fn start(id: u32) -> Request {
    let command = Command { argv: vec![c"true".into()], env: vec![], cwd: c"".into(), tty: None };
    Request::Start { session: SessionId(id), command }
}

/// What goes out, and where.
fn said(hub: &mut Hub) -> Option<(usize, Vec<Request>)> {
    let (wire, bytes) = hub.outgoing()?;
    let mut decoder = Decoder::<Request>::new();
    decoder.push(&[self::bytes(&[HELLO]), std::mem::take(bytes)].concat());
    let mut all = Vec::new();
    while let Some(request) = decoder.next().unwrap() {
        all.push(request);
    }
    all.remove(0);
    Some((wire, all))
}

/// A hub whose agent is there and has answered, and a running command.
fn running(id: u32) -> (Hub, Receiver<Reply>) {
    let mut hub = hub();
    hub.hear(1, &bytes(&[HELLO, HELLO]));
    let replies = open(&mut hub, id);
    hub.pass_on(&start(id));
    hub.hear(1, &bytes(&[Reply::Started { session: SessionId(id), pid: 3 }]));
    assert_eq!(replies.try_iter().count(), 2);
    said(&mut hub);
    (hub, replies)
}

#[test]
fn the_agent_chooses_the_wire_and_is_greeted_there() {
    let mut hub = hub();
    let early = open(&mut hub, 1);
    hub.hear(0, b"some noise");
    assert!(hub.outgoing().is_none());
    hub.hear(1, &bytes(&[HELLO]));
    assert_eq!(said(&mut hub), Some((1, vec![Request::Hello { version: VERSION }])));
    hub.hear(1, &bytes(&[HELLO]));
    assert_eq!(said(&mut hub), Some((1, vec![])));
    assert_eq!(early.try_iter().collect::<Vec<_>>(), [HELLO]);
    assert_eq!(open(&mut hub, 2).try_iter().collect::<Vec<_>>(), [HELLO]);
}

#[test]
fn each_command_hears_its_own() {
    let (mut hub, first) = running(1);
    let second = open(&mut hub, 2);
    hub.pass_on(&start(2));
    let [one, two] = [1, 2].map(SessionId);
    let replies = [
        Reply::Started { session: two, pid: 4 },
        Reply::Stdout { session: one, bytes: b"one".to_vec() },
        Reply::Stderr { session: two, bytes: b"two".to_vec() },
        Reply::Exited { session: one, status: Status::Code(7) },
        Reply::Stdout { session: SessionId(3), bytes: b"nobody's".to_vec() },
    ];
    hub.hear(1, &bytes(&replies));
    assert_eq!(first.try_iter().collect::<Vec<_>>(), [replies[1].clone(), replies[3].clone()]);
    assert!(first.recv().is_err(), "it is over");
    assert_eq!(second.try_iter().collect::<Vec<_>>(), [HELLO, replies[0].clone(), replies[2].clone()]);
    hub.hear(0, &bytes(&[Reply::Exited { session: two, status: Status::Code(0) }]));
    assert!(second.is_empty(), "the other wire is not the agent's");
}

#[test]
fn a_guest_that_starts_anew_takes_all_commands_with_it() {
    let (mut hub, replies) = running(1);
    let waiting = open(&mut hub, 2);
    waiting.try_iter().count();
    hub.hear(0, &bytes(&[HELLO]));
    assert_eq!(replies.iter().collect::<Vec<_>>(), [HELLO]);
    assert_eq!(waiting.try_iter().collect::<Vec<_>>(), [HELLO]);
    assert_eq!(said(&mut hub), Some((0, vec![Request::Hello { version: VERSION }])));
}

#[test]
fn a_machine_that_starts_anew_is_waited_for() {
    // Off before the agent has answered: the next Hello is no answer.
    let mut hub = hub();
    hub.hear(1, &bytes(&[HELLO]));
    let (replies, waiting) = (open(&mut hub, 1), open(&mut hub, 2));
    hub.pass_on(&start(1));
    hub.learn(News::Restart);
    assert_eq!(replies.iter().collect::<Vec<_>>(), [HELLO, HELLO], "the command is gone");
    assert!(hub.outgoing().is_none() && !hub.up.load(Ordering::Relaxed));
    hub.hear(0, &bytes(&[HELLO]));
    assert_eq!(said(&mut hub), Some((0, vec![Request::Hello { version: VERSION }])));
    assert_eq!(waiting.try_iter().collect::<Vec<_>>(), [HELLO, HELLO]);
}

#[test]
fn a_guest_that_boots_goes_off_when_its_agent_is_there() {
    let mut hub = hub();
    hub.learn(News::PowerOff);
    assert!(hub.outgoing().is_none());
    hub.hear(1, &bytes(&[HELLO]));
    let expected = vec![Request::Hello { version: VERSION }, Request::PowerOff];
    assert_eq!(said(&mut hub), Some((1, expected)));
    hub.learn(News::PowerOff);
    assert_eq!(said(&mut hub), Some((1, vec![Request::PowerOff])));
}

#[test]
fn a_command_whose_user_is_gone_is_hung_up_and_holds_nobody_up() {
    let (mut hub, replies) = running(1);
    let session = SessionId(1);
    hub.hear(1, &bytes(&[Reply::Stdout { session, bytes: vec![0; 100] }]));
    drop(replies);
    hub.learn(News::Goes(session));
    hub.hear(1, &bytes(&[Reply::Stdout { session, bytes: vec![0; 50] }]));
    let expected = vec![
        Request::OutputTaken { session, bytes: 100 },
        Request::StdinEof { session },
        Request::Signal { session, signal: 1 },
        Request::OutputTaken { session, bytes: 50 },
    ];
    assert_eq!(said(&mut hub), Some((1, expected)));
    hub.hear(1, &bytes(&[Reply::Exited { session, status: Status::Signal(1) }]));
    assert!(hub.routes.is_empty());
    open(&mut hub, 2);
    hub.learn(News::Goes(SessionId(2)));
    assert!(hub.routes.is_empty(), "one that never started leaves nothing");
}

#[test]
fn the_windows_are_kept_whoever_does_not() {
    let (mut hub, replies) = running(1);
    let session = SessionId(1);
    for _ in 0..3 * STDIN_WINDOW / 4096 {
        hub.pass_on(&Request::Stdin { session, bytes: vec![0; 4096] });
    }
    assert_eq!(said(&mut hub).unwrap().1.len(), STDIN_WINDOW / 4096);
    // Taken what was never sent: it is not passed on, so it cannot pile up.
    hub.hear(1, &bytes(&vec![Reply::StdinTaken { session, bytes: 0 }; 100]));
    hub.hear(1, &bytes(&[Reply::StdinTaken { session, bytes: STDIN_WINDOW as u32 + 1 }]));
    assert!(replies.is_empty());
    let loud = vec![Reply::Stdout { session, bytes: vec![0; 4096] }; OUTPUT_WINDOW / 4096 + 1];
    hub.hear(1, &bytes(&loud));
    let heard: Vec<_> = replies.iter().collect();
    assert_eq!(heard.len(), loud.len());
    assert_eq!(heard.last(), Some(&HELLO), "the command is left");
}

proptest! {
    #[test]
    fn whatever_the_guest_says(pieces in prop::collection::vec((0..2usize, prop::collection::vec(any::<u8>(), 0..200)), 0..20)) {
        let (mut hub, _replies) = running(1);
        for (wire, piece) in pieces {
            hub.hear(wire, &piece);
            hub.hear(wire, &bytes(&[HELLO]));
        }
        prop_assert!(hub.backlog() < 4096);
    }
}
