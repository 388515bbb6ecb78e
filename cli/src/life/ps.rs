//! `ringfence ps`.

use std::io::{self, Write};
use std::time::Duration;

use control::{Client, ClientError, Facts, Registry};
use humantime::format_duration;

use crate::args::show_size;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::message;

/// Lists the machines that run.
pub fn ps(json: bool) -> Result<u8, Failure> {
    let registry = Registry::open()?;
    let mut all = Vec::new();
    for name in registry.names()? {
        match Client::connect(&registry, &name).and_then(|mut client| client.facts()) {
            Ok(facts) => all.push(facts),
            // It has just ended.
            Err(ClientError::NoSuch(_)) => {}
            Err(_) if !registry.is_alive(&name) => {}
            Err(error) => message::note(error),
        }
    }
    let mut out = io::stdout().lock();
    let written = match json {
        true => serde_json::to_writer(&mut out, &all).map_err(io::Error::from).and_then(|()| writeln!(out)),
        false => table(&all).iter().try_for_each(|line| writeln!(out, "{line}")),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failure, format!("cannot write standard output: {error}")))
        }
        _ => Ok(0),
    }
}

const HEAD: [&str; 8] = ["NAME", "PID", "IMAGE", "STATE", "ENGINE", "VCPUS", "MEMORY", "UP"];

/// In columns as wide as need be.
fn table(all: &[Facts]) -> Vec<String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(all.iter().map(|facts| {
        [
            facts.name.to_string(),
            facts.pid.to_string(),
            printable(&facts.image),
            facts.state.word().to_owned(),
            facts.engine.clone(),
            facts.vcpus.to_string(),
            show_size(facts.memory),
            format_duration(Duration::from_secs(facts.uptime)).to_string(),
        ]
    }));
    let widths: [usize; HEAD.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; HEAD.len()]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The name of a kernel's file may be anything.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use control::State;

    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let facts = Facts {
            name: "brave-kite".parse().unwrap(),
            pid: 17,
            image: "debian\n".to_owned(),
            state: State::Running,
            engine: "translate".to_owned(),
            vcpus: 2,
            memory: 512 << 20,
            balloon: None,
            started: 0,
            uptime: 75,
            reboots: 0,
            has_agent: true,
            detached: false,
            console_log: None,
            devices: vec![],
        };
        let lines = table(&[facts]);
        assert_eq!(lines[0], "NAME        PID  IMAGE    STATE    ENGINE     VCPUS  MEMORY   UP");
        assert_eq!(lines[1], "brave-kite  17   debian?  running  translate  2      512 MiB  1m 15s");
        assert_eq!(table(&[]).len(), 1);
    }
}
