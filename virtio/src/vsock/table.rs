//! The connections of a device, by their ports and by their streams, and the line of those that have something to say
//! to the guest. All of it is bounded by [`MOST`].

use std::collections::{BTreeMap, VecDeque};

use super::connection::Connection;
use crate::back::Stream;

/// Connections at the same time.
pub(super) const MOST: usize = 256;
/// Ports of the host's for connections that it begins are taken from here on, out of the way of those it listens on.
const FIRST_PORT: u32 = 1 << 30;

/// Names a connection: the ports on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ports {
    pub host: u32,
    pub guest: u32,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    connections: BTreeMap<Ports, Connection>,
    streams: BTreeMap<Stream, Ports>,
    line: VecDeque<Ports>,
    next_port: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            connections: BTreeMap::new(),
            streams: BTreeMap::new(),
            line: VecDeque::new(),
            next_port: FIRST_PORT,
        }
    }
}

impl Table {
    pub fn is_full(&self) -> bool {
        self.connections.len() >= MOST
    }

    pub fn get(&mut self, ports: Ports) -> Option<&mut Connection> {
        self.connections.get_mut(&ports)
    }

    pub fn ports_of(&self, stream: Stream) -> Option<Ports> {
        self.streams.get(&stream).copied()
    }

    /// Ports for a connection that the host begins to this port of the guest's.
    pub fn ports_to(&mut self, guest: u32) -> Ports {
        loop {
            let ports = Ports { host: self.next_port, guest };
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            // There are more ports than connections.
            if !self.connections.contains_key(&ports) {
                return ports;
            }
        }
    }

    /// Adds a connection whose ports are free, and puts it into the line.
    pub fn add(&mut self, ports: Ports, connection: Connection) {
        self.streams.insert(connection.stream, ports);
        self.connections.insert(ports, connection);
        self.line_up(ports);
    }

    pub fn remove(&mut self, ports: Ports) -> Option<Connection> {
        let connection = self.connections.remove(&ports)?;
        self.streams.remove(&connection.stream);
        self.line.retain(|waiting| *waiting != ports);
        Some(connection)
    }

    /// It may have something to say.
    pub fn line_up(&mut self, ports: Ports) {
        if let Some(connection) = self.connections.get_mut(&ports)
            && !std::mem::replace(&mut connection.in_line, true)
        {
            self.line.push_back(ports);
        }
    }

    /// The first in the line.
    pub fn first(&self) -> Option<Ports> {
        self.line.front().copied()
    }

    /// The first has had its turn, and goes to the end of the line if it has more to say.
    pub fn turn_over(&mut self, again: bool) {
        if let Some(ports) = self.line.pop_front()
            && let Some(connection) = self.connections.get_mut(&ports)
        {
            connection.in_line = again;
            if again {
                self.line.push_back(ports);
            }
        }
    }

    /// Takes all connections' streams out.
    pub fn clear(&mut self) -> Vec<Stream> {
        let streams = std::mem::take(self).streams;
        streams.into_keys().collect()
    }
}
