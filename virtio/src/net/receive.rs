//! The receiving side of a pair of queues: buffers that the driver has made available, and frames put into them.
//!
//! A frame may need many buffers (5.1.6.4), and how long it is shows only when it is there. So enough for the longest is
//! kept in *stock*; where a driver has not that much, the frame waits, unless it never could have. What is in stock
//! is out of the ring but unused, and used in the order in which it came; so a saved state holds but their number, and
//! a restored front puts that many back ([`Stock::resume`]).

use std::collections::VecDeque;

use base::Buffer;

use super::header;
use crate::back::{Header, Net, Received};
use crate::chain::Chain;
use crate::mistake::Mistake;
use crate::queue::Queue;

/// Bytes of a frame, at most, beside its IP packet: addresses, type and a VLAN tag.
const AROUND: u64 = 14 + 4;
/// Bytes of the longest IP packet.
const LONGEST_PACKET: u64 = 65_535;

/// Buffers in stock.
#[derive(Debug, Default)]
pub(super) struct Stock {
    chains: VecDeque<Chain>,
    bytes: u64,
    /// Buffers that were in stock when the state was saved.
    restored: u16,
}

/// What came of trying to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A frame is in the stock's buffers.
    Frame(Header, u64),
    /// There is none.
    Nothing,
    /// The driver has not enough buffers.
    Starved,
}

/// Bytes that the stock must have for the longest frame, with its header.
pub(super) fn enough(mtu: u16, large: bool) -> u64 {
    header::LEN + AROUND + if large { LONGEST_PACKET } else { mtu.into() }
}

impl Stock {
    /// How many buffers there are.
    pub fn len(&self) -> u16 {
        self.chains.len() as u16 + self.restored
    }

    /// For a restore: so many buffers were in stock.
    pub fn resume(&mut self, count: u16) {
        *self = Self { restored: count, ..Self::default() };
    }

    /// Takes buffers off the ring until the longest frame fits in. False if the driver has not so many.
    pub fn fill(&mut self, queue: &mut Queue, enough: u64, mergeable: bool) -> Result<bool, Mistake> {
        for _ in 0..std::mem::take(&mut self.restored).min(queue.state().out) {
            queue.undo_pop();
        }
        loop {
            let full = if mergeable { self.bytes >= enough } else { !self.chains.is_empty() };
            if full {
                return Ok(true);
            }
            match queue.pop()? {
                Some(chain) => {
                    if !chain.readable.is_empty() || chain.writable.len() <= header::LEN {
                        let what = "a buffer for frames cannot be written, or is too short for a header";
                        return Err(Mistake::Request { queue: queue.number(), what });
                    }
                    self.bytes += chain.writable.len();
                    self.chains.push_back(chain);
                }
                // All that the ring can hold is here: there will be no more.
                None if self.chains.len() >= usize::from(queue.size()) => return Ok(true),
                None if queue.listen()? => {}
                None => return Ok(false),
            }
        }
    }

    /// Where the next frame goes, with its header.
    pub fn room(&self, queue: &Queue, mergeable: bool) -> Buffer {
        let mut room = Buffer::new(queue.memory());
        let count = if mergeable { self.chains.len() } else { 1 };
        self.chains.iter().take(count).for_each(|chain| room.append(chain.writable.clone()));
        room
    }

    /// A frame of `len` bytes that was received there.
    pub fn frame(&self, queue: &Queue, len: u64, mergeable: bool) -> Buffer {
        self.room(queue, mergeable).slice(header::LEN, len)
    }

    /// Fills up, and receives a frame.
    pub fn receive(
        &mut self,
        queue: &mut Queue,
        back: &mut dyn Net,
        enough: u64,
        mergeable: bool,
    ) -> Result<Outcome, Mistake> {
        if !self.fill(queue, enough, mergeable)? {
            return Ok(Outcome::Starved);
        }
        let room = self.room(queue, mergeable).slice(header::LEN, u64::MAX);
        Ok(match back.receive(&room) {
            Received::Frame(header, len) => Outcome::Frame(header, len.min(room.len())),
            Received::Nothing => Outcome::Nothing,
        })
    }

    /// Gives the driver the buffers that a frame of `len` bytes is in.
    pub fn give(
        &mut self,
        queue: &mut Queue,
        header: &Header,
        len: u64,
        mergeable: bool,
    ) -> Result<(), Mistake> {
        let mut left = header::LEN + len;
        let mut used = Vec::new();
        while left > 0 || used.is_empty() {
            let Some(chain) = self.chains.pop_front() else { break };
            self.bytes -= chain.writable.len();
            let written = left.min(chain.writable.len());
            left -= written;
            used.push((chain, written));
            if !mergeable {
                break;
            }
        }
        if let Some((first, _)) = used.first() {
            first.writable.write(0, &header::bytes(header, used.len() as u16));
        }
        for (chain, written) in used {
            queue.push(chain.head, written as u32)?;
        }
        Ok(())
    }
}
