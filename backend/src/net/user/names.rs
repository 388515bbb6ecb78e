//! The name servers that the host uses (resolv.conf(5)), for the guest's questions. They are passed on as they are;
//! where one does not answer, the guest's next try goes to the next.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The host's name servers.
#[derive(Debug)]
pub struct NameServers {
    file: PathBuf,
    port: u16,
    read: Option<Instant>,
    servers: Vec<SocketAddr>,
    /// Which one is asked now.
    turn: usize,
}

impl NameServers {
    /// The most, as in the C library.
    const MOST: usize = 3;
    /// How long a question may be unanswered before another server is asked.
    pub const PATIENCE: Duration = Duration::from_secs(2);
    /// How old what we know of the file may be: laptops move.
    const FRESH: Duration = Duration::from_secs(5);
    /// More than this of the file is not read.
    const LONGEST: u64 = 64 << 10;

    /// Those of a file, at this port: `/etc/resolv.conf` and 53 but in tests.
    pub fn new(file: impl Into<PathBuf>, port: u16) -> Self {
        Self { file: file.into(), port, read: None, servers: vec![], turn: 0 }
    }

    /// The one to ask now.
    pub fn current(&mut self, now: Instant) -> SocketAddr {
        if self.read.is_none_or(|read| now.saturating_duration_since(read) > Self::FRESH) {
            let servers = parse(&self.text(), self.port);
            if servers != self.servers {
                self.turn = 0;
            }
            (self.servers, self.read) = (servers, Some(now));
        }
        let server = self.servers.get(self.turn % self.servers.len().max(1));
        // What the C library does without a list.
        server.copied().unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// The current one does not answer.
    pub fn next(&mut self) {
        self.turn = (self.turn + 1) % self.servers.len().max(1);
    }

    fn text(&self) -> String {
        use std::io::Read;
        let mut text = vec![];
        if let Ok(file) = std::fs::File::open(&self.file) {
            let _ = file.take(Self::LONGEST).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn parse(text: &str, port: u16) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, port))
    };
    text.lines().filter_map(server).take(NameServers::MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_file_is_read_as_the_c_library_does() {
        let text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 192.0.2.53 # ours\n\
                    nameserver nonsense\n\tnameserver\t2001:db8::53\nnameserver 127.0.0.53\nnameserver 4.4.4.4\n";
        let servers: Vec<String> = parse(text, 53).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:53", "127.0.0.53:53"]);
    }

    #[test]
    fn they_take_turns_and_the_file_may_change() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut servers = NameServers::new(file.path(), 53);
        let mut now = Instant::now();
        assert_eq!(servers.current(now).to_string(), "127.0.0.1:53");
        servers.next();
        writeln!(file, "nameserver 192.0.2.1\nnameserver 192.0.2.2").unwrap();
        assert_eq!(servers.current(now).to_string(), "127.0.0.1:53", "not yet read again");
        now += NameServers::FRESH * 2;
        let mut seen = vec![];
        for _ in 0..3 {
            seen.push(servers.current(now).ip().to_string());
            servers.next();
        }
        assert_eq!(seen, ["192.0.2.1", "192.0.2.2", "192.0.2.1"]);
    }
}
