use super::*;

fn command() -> Command {
    Command { argv: vec![c"true".into()], env: vec![], cwd: c"".into(), tty: None }
}

fn bytes(replies: &[Reply]) -> Vec<u8> {
    let mut bytes = Vec::new();
    replies.iter().for_each(|reply| reply.encode(&mut bytes).unwrap());
    bytes
}

/// What the guest would read of it, Hello and Start apart.
fn requests(session: &mut Session) -> Vec<Request> {
    let mut decoder = Decoder::<Request>::new();
    let mut hello = Vec::new();
    Request::Hello { version: VERSION }.encode(&mut hello).unwrap();
    decoder.push(&[hello, session.take_outgoing()].concat());
    let mut all = Vec::new();
    while let Some(request) = decoder.next().unwrap() {
        if !matches!(request, Request::Hello { .. } | Request::Start { .. }) {
            all.push(request);
        }
    }
    all
}

fn running() -> Session {
    let mut session = Session::new(command()).unwrap();
    let heard =
        session.hear(&bytes(&[Reply::Hello { version: VERSION }, Reply::Started { session: ID, pid: 2 }]));
    assert_eq!(heard, [Heard::Started]);
    session.take_outgoing();
    session
}

#[test]
fn nothing_is_said_before_the_agents_hello() {
    let mut session = Session::new(command()).unwrap();
    session.input(b"early");
    assert_eq!(session.hear(b"SeaBIOS \x01\x00 boot noise"), []);
    assert_eq!(session.take_outgoing(), b"");
    session.hear(&bytes(&[Reply::Hello { version: VERSION }]));
    let mut decoder = Decoder::<Request>::new();
    decoder.push(&session.take_outgoing());
    assert_eq!(decoder.next(), Ok(Some(Request::Hello { version: VERSION })));
    assert_eq!(decoder.next(), Ok(Some(Request::Start { session: ID, command: command() })));
    assert_eq!(decoder.next(), Ok(None));
    session.hear(&bytes(&[Reply::Started { session: ID, pid: 2 }]));
    assert_eq!(requests(&mut session), [Request::Stdin { session: ID, bytes: b"early".to_vec() }]);
}

#[test]
fn output_and_status_in_order() {
    let mut session = running();
    let said = bytes(&[
        Reply::Stdout { session: ID, bytes: b"out".to_vec() },
        Reply::Stderr { session: ID, bytes: b"err".to_vec() },
        Reply::Exited { session: ID, status: Status::Code(7) },
        Reply::Stdout { session: ID, bytes: b"late".to_vec() },
    ]);
    let heard: Vec<_> = said.chunks(3).flat_map(|piece| session.hear(piece)).collect();
    let expected =
        [Heard::Stdout(b"out".to_vec()), Heard::Stderr(b"err".to_vec()), Heard::Exited(Status::Code(7))];
    assert_eq!(heard, expected);
    assert!(!session.is_running() && !session.signal(2));
    session.power_off();
    assert_eq!(requests(&mut session), [Request::PowerOff]);
}

#[test]
fn input_keeps_to_the_window_and_then_ends() {
    let mut session = running();
    let input: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
    session.input(&input);
    session.end_input();
    let mut sent = Vec::new();
    for _ in 0..10 {
        assert!(!session.wants_input());
        for request in requests(&mut session) {
            let Request::Stdin { bytes, .. } = request else { panic!("{request:?} after {}", sent.len()) };
            sent.extend(bytes);
        }
        assert_eq!(sent, input[..sent.len()]);
        if sent.len() == input.len() {
            break;
        }
        assert!(sent.len() % agent::STDIN_WINDOW == 0, "stops where the window is full");
        let taken = agent::STDIN_WINDOW as u32;
        session.hear(&bytes(&[Reply::StdinTaken { session: ID, bytes: taken }]));
        if input.len() - sent.len() < agent::STDIN_WINDOW {
            let mut last = requests(&mut session);
            assert_eq!(last.pop(), Some(Request::StdinEof { session: ID }));
            return;
        }
    }
    panic!("the input never ended");
}

#[test]
fn what_is_typed_and_not_read_is_bounded() {
    let mut session = running();
    for _ in 0..100 {
        session.input(&[b'x'; 4096]);
    }
    assert_eq!(session.input.len(), TYPED_AHEAD);
}

#[test]
fn a_guest_that_lies() {
    let mut session = running();
    let other = SessionId(2);
    let said = bytes(&[
        Reply::Exited { session: other, status: Status::Code(0) },
        Reply::Started { session: ID, pid: 3 },
        Reply::Failed { session: ID, code: 127, message: String::new() },
        Reply::StdinTaken { session: ID, bytes: u32::MAX },
    ]);
    assert_eq!(session.hear(&said), []);
    assert_eq!(session.hear(&[0xff; 100_000]), []);
    assert!(session.is_running());
}

#[test]
fn an_agent_of_another_version() {
    let mut session = Session::new(command()).unwrap();
    assert_eq!(session.hear(&bytes(&[Reply::Hello { version: 9 }])), [Heard::Version(9)]);
}

#[test]
fn a_command_line_that_does_not_fit() {
    let long = std::ffi::CString::new(vec![b'x'; 70_000]).unwrap();
    assert!(Session::new(Command { argv: vec![long], ..command() }).is_err());
}
