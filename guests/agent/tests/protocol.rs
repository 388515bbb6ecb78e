//! The protocol as a property: what is said is what is heard, however the bytes are cut and whatever stands
//! before.

use std::ffi::CString;

use proptest::collection::vec;
use proptest::prelude::*;
use ringfence_agent::{
    Command, Decoder, HELLO_MAGIC, MAX_BODY, Message, ProtocolError, Reply, Request, SessionId, Status,
    VERSION, Variable, WindowSize,
};

fn session() -> impl Strategy<Value = SessionId> {
    any::<u32>().prop_map(SessionId)
}

fn string() -> impl Strategy<Value = CString> {
    vec(1..=255_u8, 0..40).prop_map(|bytes| CString::new(bytes).expect("no NUL in it"))
}

fn name() -> impl Strategy<Value = CString> {
    "[A-Z_]{1,12}".prop_map(|name| CString::new(name).expect("no NUL in it"))
}

fn size() -> impl Strategy<Value = WindowSize> {
    any::<(u16, u16)>().prop_map(|(rows, cols)| WindowSize { rows, cols })
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..5000)
}

fn command() -> impl Strategy<Value = Command> {
    let variable = (name(), string()).prop_map(|(name, value)| Variable { name, value });
    (vec(string(), 1..9), vec(variable, 0..5), string(), proptest::option::of(size()))
        .prop_map(|(argv, env, cwd, tty)| Command { argv, env, cwd, tty })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        any::<u16>().prop_map(|version| Request::Hello { version }),
        (session(), command()).prop_map(|(session, command)| Request::Start { session, command }),
        (session(), data()).prop_map(|(session, bytes)| Request::Stdin { session, bytes }),
        session().prop_map(|session| Request::StdinEof { session }),
        (session(), size()).prop_map(|(session, size)| Request::Resize { session, size }),
        (session(), any::<u32>()).prop_map(|(session, bytes)| Request::OutputTaken { session, bytes }),
        (session(), any::<u8>()).prop_map(|(session, signal)| Request::Signal { session, signal }),
        Just(Request::PowerOff),
        Just(Request::Reboot),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let status = prop_oneof![any::<u8>().prop_map(Status::Code), any::<u8>().prop_map(Status::Signal)];
    prop_oneof![
        any::<u16>().prop_map(|version| Reply::Hello { version }),
        (session(), any::<u32>()).prop_map(|(session, pid)| Reply::Started { session, pid }),
        (session(), data()).prop_map(|(session, bytes)| Reply::Stdout { session, bytes }),
        (session(), data()).prop_map(|(session, bytes)| Reply::Stderr { session, bytes }),
        (session(), any::<u32>()).prop_map(|(session, bytes)| Reply::StdinTaken { session, bytes }),
        (session(), status).prop_map(|(session, status)| Reply::Exited { session, status }),
        (session(), any::<u8>(), ".{0,80}").prop_map(|(session, code, message)| Reply::Failed {
            session,
            code,
            message
        }),
    ]
}

/// The bytes of a Hello and then of `messages`.
fn conversation<M: Message>(hello: &M, messages: &[M]) -> Vec<u8> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes).expect("a Hello fits");
    for message in messages {
        message.encode(&mut bytes).expect("generated messages fit");
    }
    bytes
}

/// All that a new decoder makes of `bytes`, fed in pieces of the given sizes, over and over.
fn decode<M: Message>(bytes: &[u8], cuts: &[usize]) -> Vec<Result<M, ProtocolError>> {
    let (mut decoder, mut heard, mut rest) = (Decoder::new(), Vec::new(), bytes);
    for cut in cuts.iter().cycle() {
        let (piece, later) = rest.split_at((*cut).min(rest.len()));
        decoder.push(piece);
        while let Some(result) = decoder.next().transpose() {
            heard.push(result);
        }
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    heard
}

/// Noise that has no Hello in it and does not end like the beginning of one.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200).prop_map(|mut noise| {
        noise.push(b'\n');
        noise
    })
}

proptest! {
    #[test]
    fn requests_are_heard_as_said(
        noise in noise(),
        said in vec(request(), 0..12),
        cuts in vec(1_usize..3000, 1..8),
    ) {
        let hello = Request::Hello { version: VERSION };
        let bytes = [noise, conversation(&hello, &said)].concat();
        let heard: Result<Vec<_>, _> = decode(&bytes, &cuts).into_iter().collect();
        prop_assert_eq!(heard, Ok([vec![hello], said].concat()));
    }

    #[test]
    fn replies_are_heard_as_said(
        noise in noise(),
        said in vec(reply(), 0..12),
        cuts in vec(1_usize..3000, 1..8),
    ) {
        let hello = Reply::Hello { version: VERSION };
        let bytes = [noise, conversation(&hello, &said)].concat();
        let heard: Result<Vec<_>, _> = decode(&bytes, &cuts).into_iter().collect();
        prop_assert_eq!(heard, Ok([vec![hello], said].concat()));
    }

    #[test]
    fn arbitrary_bytes_end_in_messages_or_errors(
        bytes in vec(any::<u8>(), 0..4000),
        cuts in vec(1_usize..500, 1..8),
    ) {
        // After a Hello the decoder believes what it reads; before, it hears nothing.
        prop_assert!(decode::<Reply>(&bytes, &cuts).is_empty());
        let hello = Reply::Hello { version: VERSION };
        let heard = decode(&[conversation(&hello, &[]), bytes].concat(), &cuts);
        prop_assert_eq!(&heard[0], &Ok(hello));
        // What was understood is what its bytes say: it can be said again.
        for message in heard.into_iter().flatten() {
            let mut again = Vec::new();
            message.encode(&mut again).expect("it came out of a frame, so it fits into one");
            let bytes = [conversation(&Reply::Hello { version: VERSION }, &[]), again].concat();
            prop_assert_eq!(decode(&bytes, &cuts).pop(), Some(Ok(message)));
        }
    }

    #[test]
    fn every_kind_takes_arbitrary_bodies(
        kind in prop_oneof![0x01_u8..0x03, 0x10_u8..0x23, 0x80_u8..0x87],
        number: u32,
        body in vec(any::<u8>(), 0..300),
    ) {
        if let Some(request) = Request::decode(kind, SessionId(number), &body) {
            let mut bytes = Vec::new();
            request.encode(&mut bytes).expect("it fits");
            // A clamp or a lost byte would show here.
            prop_assert_eq!(&bytes[7..], &body[..], "{:?}", request);
        }
        if let Some(reply) = Reply::decode(kind, SessionId(number), &body) {
            let mut bytes = Vec::new();
            reply.encode(&mut bytes).expect("it fits");
            prop_assert_eq!(&bytes[7..], &body[..], "{:?}", reply);
        }
    }

    #[test]
    fn after_an_error_the_next_hello_is_heard(junk in vec(any::<u8>(), 0..50), said in vec(request(), 0..4)) {
        let hello = Request::Hello { version: VERSION };
        // An unknown kind with a body of which `junk` is a part, cut off by a peer that starts anew.
        let broken = [&[0xee, 0, 0, 0, 0, 0, 0][..], &junk, b"\n"].concat();
        let bytes = [conversation(&hello, &[]), broken, conversation(&hello, &said)].concat();
        let heard = decode::<Request>(&bytes, &[7]);
        prop_assert_eq!(&heard[0], &Ok(hello.clone()));
        prop_assert_eq!(&heard[1], &Err(ProtocolError { kind: 0xee, length: 0 }));
        let heard: Result<Vec<_>, _> = heard.into_iter().skip(2).collect();
        prop_assert_eq!(heard, Ok([vec![hello], said].concat()));
    }
}

#[test]
fn a_hello_cut_short_by_another_is_skipped() {
    let mut bytes = vec![0x01, 0, 0, 0, 0, 10, 0];
    bytes.extend_from_slice(&HELLO_MAGIC[..5]);
    let hello = Reply::Hello { version: VERSION };
    bytes.extend(conversation(&hello, &[]));
    assert_eq!(decode::<Reply>(&bytes, &[1]), [Ok(hello)]);
}

#[test]
fn a_command_line_beyond_a_frame_is_refused_before_it_is_sent() {
    let command = |argument: usize| Request::Start {
        session: SessionId(1),
        command: Command {
            argv: vec![CString::new(vec![b'a'; argument]).expect("no NUL in it"); 2],
            env: vec![],
            cwd: CString::default(),
            tty: None,
        },
    };
    assert!(command(MAX_BODY / 2 - 100).encode(&mut Vec::new()).is_ok());
    assert!(command(MAX_BODY / 2).encode(&mut Vec::new()).is_err());
    let many = Request::Start {
        session: SessionId(1),
        command: Command {
            argv: vec![CString::default(); 70_000],
            env: vec![],
            cwd: CString::default(),
            tty: None,
        },
    };
    assert!(many.encode(&mut Vec::new()).is_err());
}
