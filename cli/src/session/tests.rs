use super::*;

fn command() -> Command {
    Command { argv: vec![c"true".into()], env: vec![], cwd: c"".into(), tty: None }
}

const ID: SessionId = SessionId(1);
const HELLO: Reply = Reply::Hello { version: VERSION };

fn running() -> Session {
    let mut session = Session::new(ID, command()).unwrap();
    assert_eq!(session.hear(HELLO), None);
    assert_eq!(session.hear(Reply::Started { session: ID, pid: 2 }), Some(Heard::Started));
    session.take_outgoing();
    session
}

/// What the agent would hear of it, apart from what is taken of the output.
fn requests(session: &mut Session) -> Vec<Request> {
    let all = session.take_outgoing();
    all.into_iter().filter(|request| !matches!(request, Request::OutputTaken { .. })).collect()
}

#[test]
fn nothing_is_said_before_the_agents_hello() {
    let mut session = Session::new(ID, command()).unwrap();
    session.input(b"early");
    assert_eq!(session.take_outgoing(), []);
    session.hear(HELLO);
    assert_eq!(session.take_outgoing(), [Request::Start { session: ID, command: command() }]);
    session.hear(Reply::Started { session: ID, pid: 2 });
    assert_eq!(session.take_outgoing(), [Request::Stdin { session: ID, bytes: b"early".to_vec() }]);
}

#[test]
fn output_and_status_in_order() {
    let mut session = running();
    let said = [
        Reply::Stdout { session: ID, bytes: b"out".to_vec() },
        Reply::Stderr { session: ID, bytes: b"er".to_vec() },
        Reply::Exited { session: ID, status: Status::Code(7) },
        Reply::Stdout { session: ID, bytes: b"late".to_vec() },
    ];
    let heard: Vec<_> = said.into_iter().filter_map(|reply| session.hear(reply)).collect();
    let expected =
        [Heard::Stdout(b"out".to_vec()), Heard::Stderr(b"er".to_vec()), Heard::Exited(Status::Code(7))];
    assert_eq!(heard, expected);
    assert!(!session.is_running() && !session.signal(2));
    session.power_off();
    let taken = |bytes| Request::OutputTaken { session: ID, bytes };
    assert_eq!(session.take_outgoing(), [taken(3), taken(2), Request::PowerOff]);
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
        session.hear(Reply::StdinTaken { session: ID, bytes: taken });
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
    for reply in [
        Reply::Exited { session: SessionId(2), status: Status::Code(0) },
        Reply::Started { session: ID, pid: 3 },
        Reply::Failed { session: ID, code: 127, message: String::new() },
        Reply::StdinTaken { session: ID, bytes: u32::MAX },
    ] {
        assert_eq!(session.hear(reply), None);
    }
    assert!(session.is_running());
}

#[test]
fn a_guest_that_starts_anew_or_goes_takes_the_command_with_it() {
    let mut session = running();
    assert_eq!(session.hear(HELLO), Some(Heard::Gone));
    assert_eq!((session.hear(HELLO), session.lose()), (None, None));
    assert_eq!(running().lose(), Some(Heard::Gone));
    assert_eq!(Session::new(ID, command()).unwrap().lose(), None);
}

#[test]
fn an_agent_of_another_version() {
    let mut session = Session::new(ID, command()).unwrap();
    assert_eq!(session.hear(Reply::Hello { version: 9 }), Some(Heard::Version(9)));
}

#[test]
fn a_command_line_that_does_not_fit() {
    let long = std::ffi::CString::new(vec![b'x'; 70_000]).unwrap();
    assert!(Session::new(ID, Command { argv: vec![long], ..command() }).is_err());
}
