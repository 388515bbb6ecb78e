//! A small web server that can break off in the middle of a file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server has and what it was asked for.
#[derive(Default)]
pub struct State {
    /// Contents by path, as `/Packages`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Break off `.deb` files that are asked for whole after so many bytes, and
    /// refuse to resume them.
    pub broken_after: Option<usize>,
    /// Each path asked for, and from which byte.
    pub log: Vec<(String, usize)>,
}

/// A server on the loopback interface. It lives as long as the process.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, state: Arc::default() };
        let state = server.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                // A client that goes away is none of our business.
                thread::spawn(move || serve(stream, &state).ok());
            }
        });
        server
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }

    /// The packages asked for since the last time, and from which byte.
    pub fn debs_asked_for(&self) -> Vec<(String, usize)> {
        let log = self.with(|state| std::mem::take(&mut state.log));
        log.into_iter().filter(|(path, _)| path.ends_with(".deb")).collect()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        let path = request.split(' ').nth(1).unwrap_or_default().replace("/./", "/");
        let mut from = 0;
        loop {
            let header = lines.next().transpose()?.unwrap_or_default();
            if header.is_empty() {
                break;
            }
            if let Some(range) = header.strip_prefix("Range: bytes=") {
                from = range.trim_end_matches('-').parse().unwrap();
            }
        }
        let (content, broken_after) = {
            let mut state = state.lock().unwrap();
            state.log.push((path.clone(), from));
            let broken = state.broken_after.filter(|_| path.ends_with(".deb"));
            (state.files.get(&path).cloned(), broken)
        };
        let modified = "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT";
        let Some(content) = content else {
            write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let size = content.len();
        match from {
            0 => write!(out, "HTTP/1.1 200 OK\r\n{modified}\r\nContent-Length: {size}\r\n\r\n")?,
            _ if broken_after.is_some() => return Ok(()),
            _ => write!(
                out,
                "HTTP/1.1 206 Partial Content\r\n{modified}\r\nContent-Length: {}\r\n\
                 Content-Range: bytes {from}-{}/{size}\r\n\r\n",
                size - from,
                size - 1,
            )?,
        }
        if let Some(cut) = broken_after {
            return out.write_all(&content[..cut.min(size)]);
        }
        out.write_all(&content[from..])?;
    }
    Ok(())
}
