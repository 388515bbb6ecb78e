//! The real agent, as an ordinary process, with real commands.

mod host;

use std::ffi::CString;
use std::fs;

use host::{Host, Outcome, command, script};
use ringfence_agent::{
    HELLO_MAGIC, MAX_SESSIONS, OUTPUT_WINDOW, Reply, Request, STDIN_WINDOW, SessionId, Status, VERSION,
    Variable, WindowSize,
};

const SIZE: WindowSize = WindowSize { rows: 24, cols: 80 };

/// A megabyte in which every byte value occurs and no two pages are the same.
fn megabyte() -> Vec<u8> {
    let mut state = 1_u32;
    let mut step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..1 << 20).map(|_| step()).collect()
}

fn ended(code: u8) -> Outcome {
    Outcome { status: Status::Code(code), stdout: vec![], stderr: vec![] }
}

#[test]
fn a_command_says_its_words_and_its_exit_code() {
    let mut host = Host::new();
    let outcome = host.run(script("echo out; echo err >&2; exit 7"), b"");
    assert_eq!(
        outcome,
        Outcome { status: Status::Code(7), stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() }
    );
    assert_eq!(host.run(script("exit 255"), b""), ended(255));
    assert_eq!(host.run(command(&["true"], None), b""), ended(0));
    assert!(host.power_off().success());
}

#[test]
fn a_killed_command_says_by_which_signal() {
    let mut host = Host::new();
    assert_eq!(host.run(script("kill -SEGV $$"), b"").status, Status::Signal(11));
    // Signal dispositions are the default ones: `yes` dies of its broken pipe.
    assert_eq!(host.run(script("yes | head -c 2; exit 3"), b"").stdout, b"y\n");
}

#[test]
fn a_command_that_cannot_run_is_refused_as_a_shell_would() {
    let mut host = Host::new();
    let refusal = |host: &mut Host, argv: &[&str]| {
        let session = host.start(command(argv, None));
        match host.hear() {
            Reply::Failed { session: of, code, message } if of == session => (code, message),
            other => panic!("{other:?} instead of a refusal"),
        }
    };
    let (code, message) = refusal(&mut host, &["no-such-program"]);
    assert_eq!(code, 127);
    assert!(message.contains("no-such-program"), "{message}");
    assert_eq!(refusal(&mut host, &[""]).0, 127);
    assert_eq!(refusal(&mut host, &["/etc/passwd"]).0, 126);
    assert_eq!(refusal(&mut host, &["/"]).0, 126);
    let mut elsewhere = command(&["true"], None);
    elsewhere.cwd = CString::new("/no/such/directory").unwrap();
    host.start(elsewhere);
    assert!(
        matches!(host.hear(), Reply::Failed { code: 126, message, .. } if message.contains("/no/such/directory"))
    );
    // A name as long as a frame allows, each byte of which is three in the message.
    let mut long = command(&["true"], None);
    long.argv = vec![CString::new(vec![0xff; 60_000]).unwrap()];
    host.start(long);
    assert!(matches!(host.hear(), Reply::Failed { code: 126, .. }));
    assert_eq!(host.run(script("exit 1"), b""), ended(1));
}

#[test]
fn a_command_gets_its_arguments_environment_and_directory_unchanged() {
    let mut host = Host::new();
    let mut odd = command(
        &["sh", "-c", "printf '%s|' \"$0\" \"$@\" \"$ODD\"; pwd", "zero", "", "two words", "*"],
        None,
    );
    odd.argv.push(CString::new(b"\xff\n".to_vec()).unwrap());
    odd.env = vec![Variable { name: c"ODD".into(), value: c"a=b c".into() }];
    odd.cwd = c"/usr".into();
    assert_eq!(host.run(odd, b"").stdout, b"zero||two words|*|\xff\n|a=b c|/usr\n");
}

#[test]
fn a_megabyte_goes_through_both_ways_unchanged() {
    let mut host = Host::new();
    let bytes = megabyte();
    let outcome = host.run(command(&["cat"], None), &bytes);
    assert_eq!(outcome.status, Status::Code(0));
    assert!(outcome.stdout == bytes, "cat returned {} other bytes", outcome.stdout.len());
    // Both streams at once, written in turns.
    let outcome = host.run(script("tee /dev/stderr"), &bytes);
    assert!(outcome.stdout == bytes && outcome.stderr == bytes);
    assert!(host.power_off().success());
}

#[test]
fn a_command_that_does_not_read_holds_up_nobody() {
    let mut host = Host::new();
    let deaf = host.start(command(&["sleep", "1000"], None));
    assert!(matches!(host.hear(), Reply::Started { .. }));
    // Far more than the window and the pipe hold: the agent has to go on reading even for a host that ignores
    // the window.
    for _ in 0..(256 << 10) / STDIN_WINDOW {
        for piece in [vec![0; STDIN_WINDOW / 2], vec![0; STDIN_WINDOW / 2]] {
            host.say(&Request::Stdin { session: deaf, bytes: piece });
        }
    }
    let echo = host.start(script("echo still here"));
    let mut said = Vec::new();
    loop {
        match host.hear() {
            Reply::Exited { session, .. } => {
                assert_eq!(session, echo);
                break;
            }
            Reply::Stdout { bytes, .. } => said.extend(bytes),
            _ => {}
        }
    }
    assert_eq!(said, b"still here\n");
    host.say(&Request::Signal { session: deaf, signal: 15 });
    assert_eq!(host.wait_for(deaf).status, Status::Signal(15));
}

#[test]
fn input_is_credited_even_where_nobody_wants_it() {
    let mut host = Host::new();
    let outcome = host.run(script("exec <&-; sleep 0.2; echo done"), &megabyte());
    assert_eq!(outcome.status, Status::Code(0));
    assert_eq!(outcome.stdout, b"done\n");
}

#[test]
fn a_background_process_does_not_keep_a_session_open() {
    let mut host = Host::new();
    // That is longer than the host's patience.
    let outcome = host.run(script("sleep 1000 & echo $!"), b"");
    let background = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(host.run(script(&format!("kill {background}")), b""), ended(0));
}

#[test]
fn sessions_run_side_by_side_up_to_a_limit() {
    let mut host = Host::new();
    let sessions: Vec<SessionId> = (0..MAX_SESSIONS).map(|_| host.start(command(&["cat"], None))).collect();
    for session in &sessions {
        assert!(matches!(host.hear(), Reply::Started { session: of, .. } if of == *session));
    }
    host.start(command(&["cat"], None));
    assert!(matches!(host.hear(), Reply::Failed { code: 126, .. }));
    for session in sessions.iter().rev() {
        let bytes = session.0.to_le_bytes().to_vec();
        host.say(&Request::Stdin { session: *session, bytes: bytes.clone() });
        host.say(&Request::StdinEof { session: *session });
        assert_eq!(host.wait_for(*session), Outcome { stdout: bytes, ..ended(0) });
    }
    assert_eq!(host.run(script("exit 4"), b""), ended(4));
}

#[test]
fn a_terminal_has_a_size_and_gets_a_new_one() {
    let mut host = Host::new();
    let text = "trap 'stty size; exit 0' WINCH; tty; stty size; while :; do sleep 0.05; done";
    let session = host.start(command(&["sh", "-c", text], Some(SIZE)));
    let seen = host.read_until("24 80\r\n");
    assert!(seen.starts_with("/dev/pts/"), "{seen}");
    host.say(&Request::Resize { session, size: WindowSize { rows: 50, cols: 132 } });
    let outcome = host.wait_for(session);
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "50 132\r\n");
    assert_eq!(outcome.status, Status::Code(0));
}

#[test]
fn control_c_reaches_the_foreground_job_only() {
    let mut host = Host::new();
    // An interactive shell puts `sleep` in a job of its own; the interrupt must end the job and not the
    // shell.
    let session = host.start(command(&["sh", "-i"], Some(SIZE)));
    host.type_in(session, "PS1=; echo rea''dy\n");
    host.read_until("ready\r\n");
    // It is said by the job itself, which is in the foreground by then.
    host.type_in(session, "sh -c \"echo sleep''ing; exec sleep 1000\"; echo status=$?\n");
    host.read_until("sleeping\r\n");
    host.type_in(session, "\x03");
    host.read_until("^C");
    host.type_in(session, "echo status=$?; exit 9\n");
    let outcome = host.wait_for(session);
    let seen = String::from_utf8_lossy(&outcome.stdout);
    assert!(seen.contains("status=130\r\n"), "{seen}");
    assert_eq!(outcome.status, Status::Code(9));
}

#[test]
fn the_end_of_input_on_a_terminal_is_the_character_for_it() {
    let mut host = Host::new();
    let session = host.start(command(&["cat"], Some(SIZE)));
    host.type_in(session, "line\n");
    // Once echoed, once by cat.
    host.read_until("line\r\nline\r\n");
    host.say(&Request::StdinEof { session });
    assert_eq!(host.wait_for(session), ended(0));
}

#[test]
fn a_terminals_last_words_are_complete() {
    let mut host = Host::new();
    for _ in 0..20 {
        let session = host.start(command(&["sh", "-c", "seq 1 300"], Some(SIZE)));
        let outcome = host.wait_for(session);
        let expected: String = (1..=300).map(|number| format!("{number}\r\n")).collect();
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), expected);
    }
}

#[test]
fn messages_to_nobody_and_hostile_bytes_do_no_harm() {
    let mut host = Host::new();
    let nobody = SessionId(77);
    host.say(&Request::Stdin { session: nobody, bytes: vec![1, 2, 3] });
    host.say(&Request::StdinEof { session: nobody });
    host.say(&Request::Resize { session: nobody, size: SIZE });
    host.say(&Request::Signal { session: nobody, signal: 9 });
    assert_eq!(host.run(script("exit 5"), b""), ended(5));
    // An unknown kind is answered by a Hello; then a Hello that breaks off, and the next is heard.
    host.say_raw(&[0xee, 1, 2, 3, 4, 0, 0, 9, 9, 9]);
    assert_eq!(host.hear(), Reply::Hello { version: VERSION });
    host.say_raw(&HELLO_MAGIC);
    host.greet();
    assert_eq!(host.run(script("exit 6"), b""), ended(6));
}

#[test]
fn a_signal_number_that_does_not_exist_is_nobodys() {
    let mut host = Host::new();
    let session = host.start(script("sleep 1000"));
    assert!(matches!(host.hear(), Reply::Started { .. }));
    for signal in [0, 65, 200, 255] {
        host.say(&Request::Signal { session, signal });
    }
    // A real-time signal, which most wrappers do not know.
    host.say(&Request::Signal { session, signal: 40 });
    assert_eq!(host.wait_for(session).status, Status::Signal(40));
}

#[test]
fn nothing_is_left_behind_by_many_sessions() {
    let mut host = Host::new();
    let directory = format!("/proc/{}/fd", host.agent());
    let descriptors = || fs::read_dir(&directory).unwrap().count();
    assert_eq!(host.run(script("exit 0"), b""), ended(0));
    // When it answers it is done with what was before.
    host.greet();
    let before = descriptors();
    for round in 0..30 {
        assert_eq!(host.run(script("exit 0"), b""), ended(0));
        let session = host.start(command(&["true"], Some(SIZE)));
        assert_eq!(host.wait_for(session), ended(0), "round {round}");
    }
    host.greet();
    assert_eq!(descriptors(), before);
    // No zombies either: all children are reaped.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", host.agent())).unwrap();
    assert_eq!(children, "");
}

#[test]
fn output_that_nobody_takes_holds_up_nobody() {
    let mut host = Host::new();
    host.takes = false;
    let loud = host.start(script("head -c 1000000 /dev/zero; echo err >&2; exit 4"));
    let mut got = 0;
    while got < OUTPUT_WINDOW {
        match host.hear() {
            Reply::Started { .. } => {}
            Reply::Stdout { bytes, .. } => got += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, OUTPUT_WINDOW);
    let other = host.start(script("echo still here"));
    assert_eq!(host.wait_for(other).stdout, b"still here\n");
    host.takes = true;
    host.say(&Request::OutputTaken { session: loud, bytes: OUTPUT_WINDOW as u32 });
    let outcome = host.wait_for(loud);
    assert_eq!(outcome.stdout.len() + got, 1_000_000);
    assert_eq!((outcome.status, &outcome.stderr[..]), (Status::Code(4), &b"err\n"[..]));
}
