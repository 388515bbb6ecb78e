//! Where stations are: learned from what they send (IEEE 802.1D, 7.8).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::port::PortId;

/// Stations and the ports behind which they were heard.
#[derive(Debug, Default)]
pub struct Table {
    stations: HashMap<[u8; 6], (PortId, Instant)>,
}

impl Table {
    /// The most stations; a new one takes the place of the one unheard the longest.
    pub const MOST: usize = 1024;
    /// A station unheard for so long may have moved (7.9.2).
    const AGE: Duration = Duration::from_secs(300);

    /// A station was heard behind a port.
    pub fn learn(&mut self, station: [u8; 6], port: PortId, now: Instant) {
        if station[0] & 1 != 0 {
            return; // a group never sends
        }
        if self.stations.len() >= Self::MOST && !self.stations.contains_key(&station) {
            let oldest =
                self.stations.iter().min_by_key(|(_, (_, heard))| *heard).map(|(station, _)| *station);
            oldest.map(|oldest| self.stations.remove(&oldest));
        }
        self.stations.insert(station, (port, now));
    }

    /// The port behind which a station is, if that is known.
    pub fn port_of(&self, station: &[u8; 6], now: Instant) -> Option<PortId> {
        let (port, heard) = self.stations.get(station)?;
        (now.saturating_duration_since(*heard) < Self::AGE).then_some(*port)
    }

    /// A port is gone.
    pub fn forget(&mut self, port: PortId) {
        self.stations.retain(|_, (other, _)| *other != port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(number: u32) -> [u8; 6] {
        let [a, b, c, d] = number.to_be_bytes();
        [2, 0, a, b, c, d]
    }

    #[test]
    fn stations_are_learned_move_age_and_go_with_their_port() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.learn(station(1), PortId(1), now);
        table.learn(station(2), PortId(2), now);
        assert_eq!(table.port_of(&station(1), now), Some(PortId(1)));
        table.learn(station(1), PortId(3), now);
        assert_eq!(table.port_of(&station(1), now), Some(PortId(3)));
        assert_eq!(table.port_of(&station(1), now + Table::AGE), None);
        table.forget(PortId(2));
        assert_eq!(table.port_of(&station(2), now), None);
        table.learn([0xff; 6], PortId(1), now);
        assert_eq!(table.port_of(&[0xff; 6], now), None);
    }

    #[test]
    fn a_storm_of_new_stations_is_bounded_and_keeps_the_newest() {
        let (mut table, now) = (Table::default(), Instant::now());
        for number in 0..10_000 {
            table.learn(station(number), PortId(1), now + Duration::from_millis(number.into()));
        }
        let now = now + Duration::from_secs(10);
        assert_eq!(table.stations.len(), Table::MOST);
        assert_eq!(table.port_of(&station(9_999), now), Some(PortId(1)));
        assert_eq!(table.port_of(&station(8_000), now), None);
    }
}
