//! Lines on the control socket, of clients and of servers.

use std::io::Write;
use std::os::unix::net::UnixStream;

use control::{Connection, FromCommand, FromConsole, Greeting, Reply, Request, ToCommand, ToConsole};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Target;

/// The target.
pub const TARGET: Target =
    Target { name: "control", about: "lines on the control socket", longest: 8192, run, seeds };

fn run(input: &[u8]) {
    for line in input.split(|&byte| byte == b'\n') {
        again::<Request>(line);
        again::<ToCommand>(line);
        again::<ToConsole>(line);
        again::<Greeting>(line);
        again::<Reply>(line);
        again::<FromCommand>(line);
        again::<FromConsole>(line);
    }
    let (mut near, far) = UnixStream::pair().expect("the host has two descriptors");
    // It is shorter than a socket's buffer.
    near.write_all(input).expect("a socket takes it");
    drop(near);
    let mut connection = Connection::new(far).expect("the host lets sockets have time-outs");
    while let Ok(Some(_)) = connection.reader.receive::<Request>() {}
}

/// What is understood is written and understood again.
fn again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(line: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(line) else { return };
    let text = serde_json::to_vec(&message).expect("what was JSON is JSON");
    assert_eq!(serde_json::from_slice::<T>(&text).expect("our own words"), message);
}

fn seeds() -> Vec<Vec<u8>> {
    let requests = concat!(
        r#"{"command":"info"}"#,
        "\n",
        r#"{"command":"stop","button":true}"#,
        "\n",
        r#"{"command":"exec","argv":["sh",{"base64":"/w=="}],"env":[["A","b"]],"terminal":{"rows":1,"columns":2}}"#,
        "\n",
        r#"{"command":"detach","id":"disk0","wait":1000}"#,
        "\n",
    );
    let events = concat!(
        r#"{"event":"input","bytes":"aGk="}"#,
        "\n",
        r#"{"event":"resize","rows":50,"columns":132}"#,
        "\n",
        r#"{"event":"exited","status":7}"#,
        "\n",
    );
    let replies = concat!(
        r#"{"ringfence":"0.1.0","protocol":1}"#,
        "\n",
        r#"{"reply":"error","kind":"not-found","message":"no device"}"#,
        "\n",
        r#"{"reply":"attached","id":"disk0"}"#,
        "\n",
    );
    [requests, events, replies].map(|text| text.as_bytes().to_vec()).to_vec()
}
