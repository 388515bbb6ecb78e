//! An interface's front at rest.

use base::{RestoreError, Saved};
use serde::{Deserialize, Serialize};

use super::{Net, QUEUE_SIZE};
use crate::back::Offloads;

/// What is saved: what driver and device have agreed on, and how many buffers are in stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `Net`
pub struct NetState {
    pub factory_mac: [u8; 6],
    pub mtu: u16,
    pub pairs: u16,
    pub mac: [u8; 6],
    pub active: u16,
    pub to_guest: u32,
    pub from_guest: u32,
    pub mergeable: bool,
    /// Of each pair.
    pub stock: Vec<u16>,
}

impl Saved for Net {
    type State = NetState;
    const KIND: &'static str = "virtio-net";
    const VERSION: u16 = 1;

    fn save(&self) -> NetState {
        // The back-end, the name and the link are the host's; the rest is found out again.
        let Self {
            back: _,
            facts,
            pairs,
            name: _,
            mac,
            link: _,
            active,
            to_guest,
            from_guest,
            mergeable,
            stocks,
            steering: _,
            recent: _,
            starved: _,
            full: _,
        } = self;
        NetState {
            factory_mac: facts.mac,
            mtu: facts.mtu,
            pairs: *pairs,
            mac: *mac,
            active: *active,
            to_guest: to_guest.bits(),
            from_guest: from_guest.bits(),
            mergeable: *mergeable,
            stock: stocks.iter().map(super::Stock::len).collect(),
        }
    }

    fn restore(&mut self, state: NetState) -> Result<(), RestoreError> {
        let NetState { factory_mac, mtu, pairs, mac, active, to_guest, from_guest, mergeable, stock } = state;
        let refuse = |reason: String| Err(RestoreError::Invalid { kind: Self::KIND, reason });
        if (factory_mac, mtu, pairs) != (self.facts.mac, self.facts.mtu, self.pairs) {
            return refuse(format!("{} is another interface, or attached in another way", self.name));
        }
        let (Some(to), Some(from)) = (Offloads::from_bits(to_guest), Offloads::from_bits(from_guest)) else {
            return refuse("offloads that do not exist".to_owned());
        };
        if !self.facts.to_guest.contains(to) || !self.facts.from_guest.contains(from) {
            return refuse(format!(
                "the network behind {} cannot take over what its guest expects",
                self.name
            ));
        }
        let stocked = stock.len() == usize::from(pairs) && stock.iter().all(|count| *count <= QUEUE_SIZE);
        if !(1..=pairs).contains(&active) || mac[0] & 1 != 0 || !stocked {
            return refuse("an impossible address, number of queues or of buffers".to_owned());
        }
        self.begin();
        (self.mac, self.active, self.from_guest, self.mergeable) = (mac, active, from, mergeable);
        self.leave(to);
        self.stocks.iter_mut().zip(stock).for_each(|(stock, count)| stock.resume(count));
        self.link = self.back.link();
        Ok(())
    }
}
