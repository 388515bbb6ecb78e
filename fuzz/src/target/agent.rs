//! The decoder of the agent's protocol, in both directions and in pieces of any size.

use std::ffi::CString;

use agent::{Command, Decoder, Message, Reply, Request, SessionId, Status};

use super::Target;
use crate::source::Source;

/// The target.
pub const TARGET: Target =
    Target { name: "agent", about: "frames of the guest agent, both ways", longest: 4096, run, seeds };

fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let piece = 1 + usize::from(source.byte());
    let bytes = source.rest();
    decode::<Request>(bytes, piece);
    decode::<Reply>(bytes, piece);
}

/// Whatever is decoded is encoded and decoded again.
fn decode<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8], piece: usize) {
    let mut decoder = Decoder::<M>::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => again(&message),
                Ok(None) => break,
                Err(_) => {}
            }
        }
    }
}

fn again<M: Message + PartialEq + std::fmt::Debug>(message: &M) {
    let mut frame = vec![];
    message.encode(&mut frame).expect("what came out of a frame goes into one");
    let (header, body) = frame.split_at(7);
    let session = SessionId(u32::from_le_bytes([header[1], header[2], header[3], header[4]]));
    assert_eq!(M::decode(header[0], session, body).as_ref(), Some(message));
}

fn seeds() -> Vec<Vec<u8>> {
    let session = SessionId(3);
    let mut requests = vec![16];
    let argv = [c"sh", c"-c", c"exit 7"].map(CString::from).to_vec();
    let command = Command { argv, env: vec![], cwd: c"/tmp".into(), tty: None };
    for request in [
        Request::Hello { version: agent::VERSION },
        Request::Start { session, command },
        Request::Stdin { session, bytes: b"hello".to_vec() },
        Request::StdinEof { session },
        Request::OutputTaken { session, bytes: 3 },
        Request::Signal { session, signal: 15 },
    ] {
        request.encode(&mut requests).expect("a short message");
    }
    let mut replies = vec![255];
    for reply in [
        Reply::Hello { version: agent::VERSION },
        Reply::Started { session, pid: 77 },
        Reply::Stdout { session, bytes: b"out".to_vec() },
        Reply::StdinTaken { session, bytes: 5 },
        Reply::Exited { session, status: Status::Code(7) },
    ] {
        reply.encode(&mut replies).expect("a short message");
    }
    vec![requests, replies]
}
