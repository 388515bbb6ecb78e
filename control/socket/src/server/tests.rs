//! A server and those who come to it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::{Bytes, Client, ClientError, FromConsole, LONGEST_LINE, Registry, ToConsole};

/// Knows two requests.
#[derive(Default)]
struct Echo {
    ended: AtomicBool,
}

impl Machine for Echo {
    fn obey(&self, request: Request) -> Result<Reply, Problem> {
        match request {
            Request::Pause {} => Ok(Reply::Done),
            Request::Console {} => Ok(Reply::Streaming),
            _ => Err(Problem::new(ProblemKind::Unavailable, "an echo cannot do that")),
        }
    }

    fn stream(&self, _: Request, mut connection: Connection) {
        while let Ok(Some(ToConsole::Input { bytes })) = connection.reader.receive() {
            if connection.writer.send(&FromConsole::Output { bytes }).is_err() {
                break;
            }
        }
        self.ended.store(true, Ordering::SeqCst);
    }
}

struct World {
    registry: Registry,
    server: Server,
    echo: Arc<Echo>,
    _root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let registry = Registry::below(root.path()).unwrap();
        let claim = registry.claim(&"echo".parse().unwrap()).unwrap();
        let echo = Arc::<Echo>::default();
        let server = Server::start(claim, Arc::clone(&echo) as Arc<dyn Machine>).unwrap();
        Self { registry, server, echo, _root: root }
    }

    fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.registry, self.server.name())
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(self.registry.socket(self.server.name())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

fn said(mut stream: &UnixStream) -> String {
    let mut text = String::new();
    // What a server does not read any more resets the connection, behind its last word.
    if let Err(error) = stream.read_to_string(&mut text) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    text
}

#[test]
fn requests_are_answered_in_order() {
    let world = World::new();
    let mut client = world.client().unwrap();
    assert_eq!(client.process(), std::process::id() as i32);
    for _ in 0..3 {
        assert_eq!(client.ask(&Request::Pause {}).unwrap(), Reply::Done);
        let refused = client.ask(&Request::Kill {}).unwrap_err();
        assert_eq!(refused.to_string(), "an echo cannot do that");
    }
    let socket = std::fs::metadata(world.registry.socket(world.server.name())).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_stream_goes_both_ways_and_ends() {
    let world = World::new();
    let mut connection = world.client().unwrap().stream(&Request::Console {}).unwrap();
    for text in ["a", "line\n", ""] {
        let bytes = Bytes(text.into());
        connection.writer.send(&ToConsole::Input { bytes: bytes.clone() }).unwrap();
        let heard = connection.reader.receive::<FromConsole>().unwrap();
        assert_eq!(heard, Some(FromConsole::Output { bytes }));
    }
    drop(connection);
    while !world.echo.ended.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_not_of_the_protocol_is_told_and_ends_the_connection() {
    let world = World::new();
    let endless = vec![b'{'; LONGEST_LINE + 1];
    let nested = [vec![b'['; 100_000], vec![b'\n']].concat();
    for line in
        [&b"hello\n"[..], b"{}\n", b"\xff\xfe\n", b"{\"command\":\"info\",\"x\":1}\n", &nested, &endless]
    {
        let mut stream = world.raw();
        // The server may leave in the middle of it.
        let _ = stream.write_all(line);
        let said = said(&stream);
        let mut lines = said.lines();
        assert!(lines.next().unwrap().contains("\"protocol\":1"));
        let told = lines.next().unwrap();
        assert!(told.contains("malformed"), "{told}");
        assert_eq!(lines.next(), None);
    }
    world.client().unwrap().ask(&Request::Pause {}).unwrap();
}

#[test]
fn one_client_too_many_is_told_and_the_next_finds_a_place() {
    let world = World::new();
    let mut clients: Vec<_> = (0..MOST_CLIENTS).map(|_| world.client().unwrap()).collect();
    let refused = world.client().unwrap().ask(&Request::Pause {}).unwrap_err();
    assert!(
        matches!(&refused, ClientError::Problem(problem) if problem.kind == ProblemKind::Busy),
        "{refused}"
    );
    assert!(said(&world.raw()).contains("busy"));
    for client in &mut clients {
        client.ask(&Request::Pause {}).unwrap();
    }
    clients.pop();
    // The place is free when the server has seen it go.
    while world.client().unwrap().ask(&Request::Pause {}).is_err() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn clients_that_go_in_the_middle_leave_nothing() {
    let world = World::new();
    for _ in 0..10 * MOST_CLIENTS {
        let mut stream = world.raw();
        // One of those before it may be there still, and this one was turned away.
        let _ = stream.write_all(b"{\"command\":\"pause\"}\n{\"comm");
    }
    while world.client().unwrap().ask(&Request::Pause {}).is_err() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_machine_that_ended_is_not_there() {
    let world = World::new();
    let waiting = world.client().unwrap();
    let World { registry, server, .. } = world;
    let (name, socket) = (server.name().clone(), registry.socket(server.name()));
    // As after a crash: the socket is left, and nobody has the lock.
    std::fs::hard_link(&socket, socket.with_extension("kept")).unwrap();
    drop(server);
    assert!(matches!(Client::connect(&registry, &name), Err(ClientError::NoSuch(_))));
    std::fs::rename(socket.with_extension("kept"), &socket).unwrap();
    assert!(matches!(Client::connect(&registry, &name), Err(ClientError::NoSuch(_))));
    drop(waiting);
}

#[test]
fn a_machine_that_is_stuck_is_not_waited_for_without_end() {
    let world = World::new();
    let name = "stuck".parse().unwrap();
    let claim = world.registry.claim(&name).unwrap();
    // Connections wait in the socket; nobody accepts them.
    let _listener = UnixListener::bind(claim.socket()).unwrap();
    let silent = Client::connect(&world.registry, &name).unwrap_err();
    let ours = std::process::id() as i32;
    assert!(
        matches!(silent, ClientError::Silent { process: Some(process), .. } if process == ours),
        "{silent}"
    );
}
