//! The back-end between real sockets.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use super::*;

/// News as they come, until there is what is wanted.
fn await_news(unix: &mut Unix, wanted: impl Fn(&VsockNews) -> bool) -> VsockNews {
    let start = Instant::now();
    let mut news = Vec::new();
    loop {
        unix.news(&mut news);
        if let Some(found) = news.drain(..).find(|news| wanted(news)) {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no such news");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.sock");
    (folder, path)
}

fn incoming(news: &VsockNews) -> bool {
    matches!(news, VsockNews::Incoming { .. })
}

#[test]
fn the_host_connects_to_a_port_of_the_guests() {
    let (_folder, path) = folder();
    let mut unix = Unix::new(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut host = UnixStream::connect(&path).unwrap();
    host.write_all(b"CONNECT 52\nearly").unwrap();
    let VsockNews::Incoming { stream, port } = await_news(&mut unix, incoming) else { unreachable!() };
    assert_eq!(port, 52);
    unix.accept(stream, 1 << 30);
    let mut bytes = [0; 64];
    assert_eq!(unix.read(stream, &mut bytes), Ok(Heard::Bytes(5)));
    assert_eq!(unix.read(stream, &mut bytes), Ok(Heard::Nothing));
    assert_eq!(unix.write(stream, b"answer"), Ok(6));
    unix.end(stream);
    let mut all = String::new();
    host.read_to_string(&mut all).unwrap();
    assert_eq!(all, "OK 1073741824\nanswer");
    host.shutdown(Shutdown::Write).unwrap();
    await_news(&mut unix, |news| *news == VsockNews::Readable(stream));
    assert_eq!(unix.read(stream, &mut bytes), Ok(Heard::End));
    drop(host);
    await_news(&mut unix, |news| *news == VsockNews::Gone(stream));
    assert_eq!(unix.write(stream, b"to nobody"), Err(Broken));
    unix.close(stream);
    assert_eq!(unix.read(stream, &mut bytes), Err(Broken));
    drop(unix);
    assert!(!path.exists(), "the socket goes with the machine");
    let unix = Unix::new(&path).unwrap();
    drop(unix.file());
    assert!(!path.exists(), "or before it");
}

#[test]
fn the_guest_connects_to_a_port_of_the_hosts() {
    let (_folder, path) = folder();
    let mut unix = Unix::new(&path).unwrap();
    assert_eq!(unix.connect(52), None, "nobody listens");
    let listener = UnixListener::bind(socket::of_port(&path, 52)).unwrap();
    let stream = unix.connect(52).unwrap();
    let mut host = listener.accept().unwrap().0;
    // More than the socket holds: what was not taken is offered again when there is room.
    let bytes = vec![7; 1 << 20];
    let mut sent = unix.write(stream, &bytes).unwrap();
    assert!(sent < bytes.len());
    assert_eq!(unix.write(stream, &bytes[sent..]), Ok(0));
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        host.read_to_end(&mut all).unwrap();
        all
    });
    while sent < bytes.len() {
        await_news(&mut unix, |news| *news == VsockNews::Writable(stream));
        loop {
            match unix.write(stream, &bytes[sent..]).unwrap() {
                0 => break,
                more => sent += more,
            }
        }
    }
    unix.close(stream);
    assert_eq!(reader.join().unwrap(), bytes);
}

#[test]
fn whoever_says_nothing_makes_room_for_others() {
    let (_folder, path) = folder();
    let mut unix = Unix::new(&path).unwrap();
    let mut idle = Vec::new();
    for _ in 0..3 * MOST_GREETERS {
        idle.push(UnixStream::connect(&path).unwrap());
        unix.news(&mut Vec::new());
        assert!(unix.streams.len() <= MOST_GREETERS);
    }
    let mut rude = UnixStream::connect(&path).unwrap();
    rude.write_all(b"HELLO 52\n").unwrap();
    let mut host = UnixStream::connect(&path).unwrap();
    host.write_all(b"CONNECT 7\n").unwrap();
    let news = await_news(&mut unix, incoming);
    assert!(matches!(news, VsockNews::Incoming { port: 7, .. }));
    assert!(matches!(rude.read(&mut [0; 8]), Ok(0) | Err(_)), "it was turned away");
    // The guest does not want it.
    let VsockNews::Incoming { stream, .. } = news else { unreachable!() };
    unix.close(stream);
    assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn nobody_has_more_streams_than_there_are() {
    let (_folder, path) = folder();
    let mut unix = Unix::new(&path).unwrap();
    let listener = UnixListener::bind(socket::of_port(&path, 1)).unwrap();
    let mut ends = Vec::new();
    for n in 0..MOST {
        unix.connect(1).unwrap_or_else(|| panic!("connection {n}"));
        ends.push(listener.accept().unwrap());
    }
    assert_eq!(unix.connect(1), None);
    let mut late = UnixStream::connect(&path).unwrap();
    // News of all the others come before.
    (0..=MOST / MOST_EVENTS).for_each(|_| unix.news(&mut Vec::new()));
    assert_eq!(late.read(&mut [0; 8]).unwrap(), 0, "there is no room to listen to it");
    unix.close(0);
    assert!(unix.connect(1).is_some());
}

#[test]
fn a_path_is_taken_over_from_the_dead_only() {
    let (folder, path) = folder();
    let first = Unix::new(&path).unwrap();
    assert!(matches!(Unix::new(&path), Err(Error::Occupied(_))));
    drop(first);
    drop(UnixListener::bind(&path).unwrap()); // as one leaves it who is killed
    assert!(path.exists());
    let second = Unix::new(&path).unwrap();
    // Somebody else's file by that name is not removed.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    drop(second);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert!(matches!(Unix::new(&path), Err(Error::NoSocket(_))));
    assert!(matches!(Unix::new(&folder.path().join("x".repeat(100))), Err(Error::TooLong { .. })));
    assert!(matches!(Unix::new(&folder.path().join("no/such")), Err(Error::Bind { .. })));
}
