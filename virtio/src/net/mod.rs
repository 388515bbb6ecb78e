//! A network interface (5.1).
//!
//! ```text
//!   queue 0  frames for the guest   ◄── receive ◄── back-end
//!   queue 1  frames from the guest  ──► send    ──►
//!   2, 3 …   more pairs, as many as the driver wants
//!   last     commands
//! ```
//!
//! Frames go between the guest's buffers and the back-end without being looked at, but to choose the pair
//! where there are several ([`steer`]). What the driver leaves undone (checksums, segmentation) it must have agreed to leave; a
//! frame that claims more is dropped. A driver without buffers to receive into makes its back-end wait, as a
//! slow reader of a socket does; what then gets lost is the back-end's choice.

mod config;
mod control;
mod header;
mod receive;
mod state;
mod steer;

use std::os::fd::BorrowedFd;

use base::{Buffer, Record, RestoreError, Saved};

use crate::back::{Header, Net as Back, NetFacts, Offloads, Received, Sent};
use crate::chain::Chain;
use crate::device::{Device, DeviceId};
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress, Queue};
use crate::rings::Rings;
use control::{Ack, Command};
use receive::{Outcome, Stock};
pub use state::NetState;
use steer::Steering;

/// Entries of a queue for frames.
const QUEUE_SIZE: u16 = 256;
/// Entries of the queue for commands.
const CONTROL_SIZE: u16 = 64;
/// Frames received before others have their turn.
const TURN: usize = 256;

/// An interface's front.
pub struct Net {
    back: Box<dyn Back>,
    facts: NetFacts,
    pairs: u16,
    name: String,
    /// The address, which the driver may change.
    mac: [u8; 6],
    link: bool,
    /// The pairs in use.
    active: u16,
    /// What the driver takes, and what it may leave.
    to_guest: Offloads,
    from_guest: Offloads,
    mergeable: bool,
    stocks: Vec<Stock>,
    steering: Steering,
    /// The pair that sent or received last: the next frame is probably for it.
    recent: u16,
    /// The driver has no buffers to receive into.
    starved: bool,
    /// The queues whose next frame the back-end had no room for, a bit each.
    full: u64,
}

impl Net {
    /// The most pairs of queues.
    pub const MOST_PAIRS: u16 = 16;

    /// An interface with so many pairs of queues (1 to 16). `name` is what messages call it.
    pub fn new(back: Box<dyn Back>, pairs: u16, name: impl Into<String>) -> Self {
        let facts = back.facts();
        let pairs = pairs.clamp(1, Self::MOST_PAIRS);
        let mut net = Self {
            link: back.link(),
            back,
            facts,
            pairs,
            name: name.into(),
            mac: facts.mac,
            active: 1,
            to_guest: Offloads::empty(),
            from_guest: Offloads::empty(),
            mergeable: false,
            stocks: vec![],
            steering: Steering::new(),
            recent: 0,
            starved: false,
            full: 0,
        };
        net.begin();
        net
    }

    /// As at the start.
    fn begin(&mut self) {
        self.mac = self.facts.mac;
        self.active = 1;
        self.from_guest = Offloads::empty();
        self.mergeable = false;
        self.stocks = (0..self.pairs).map(|_| Stock::default()).collect();
        self.steering = Steering::new();
        (self.recent, self.starved, self.full) = (0, false, 0);
        self.leave(Offloads::empty());
    }

    fn leave(&mut self, to_guest: Offloads) {
        self.to_guest = to_guest;
        self.back.accept(to_guest);
    }

    /// The number of the queue for commands.
    fn control(&self, rings: &Rings) -> u16 {
        if rings.has(config::MULTI_QUEUE) { 2 * self.pairs } else { 2 }
    }

    fn send(&mut self, queue: &mut Queue, chain: &Chain) -> Result<Fate, Mistake> {
        if !chain.writable.is_empty() || chain.readable.len() < header::LEN {
            let what = "a frame to send is in a buffer to be written, or has no header";
            return Err(Mistake::Request { queue: queue.number(), what });
        }
        let header = header::read(&chain.readable);
        let frame = chain.readable.slice(header::LEN, u64::MAX);
        let pair = queue.number() / 2;
        let allowed = header::leaves(&header).is_some_and(|leaves| self.from_guest.contains(leaves));
        if allowed && !frame.is_empty() {
            if self.active > 1 {
                self.steering.sent(&frame, pair);
            }
            self.recent = pair;
            if self.back.send(&header, &frame) == Sent::Full {
                self.full |= 1 << queue.number();
                return Ok(Fate::Full);
            }
        }
        queue.push(chain.head, 0)?;
        Ok(Fate::Taken)
    }

    /// Sends what the driver has in a queue.
    fn transmit(&mut self, rings: &mut Rings, number: u16) -> Result<Progress, Mistake> {
        self.full &= !(1 << number);
        let queue = rings.queue(number);
        let progress = queue.each(|queue, chain| self.send(queue, &chain));
        self.back.flush();
        queue.signal()?;
        progress
    }

    /// Receives what the back-end has.
    fn receive(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let large = self.to_guest.intersects(Offloads::all().difference(Offloads::CHECKSUM));
        let enough = receive::enough(self.facts.mtu, large);
        let mut touched = 0u64;
        let mut progress = Progress::More;
        for _ in 0..TURN {
            let pair = self.recent % self.active;
            let queue = rings.queue(2 * pair);
            if !queue.enabled() {
                self.starved = true;
                progress = Progress::Done;
                break;
            }
            let stock = &mut self.stocks[usize::from(pair)];
            match stock.receive(queue, self.back.as_mut(), enough, self.mergeable)? {
                Outcome::Frame(header, len) => {
                    let to = match self.active {
                        1 => pair,
                        active => self.steering.pair(&stock.frame(queue, len, self.mergeable), active),
                    };
                    let given = if to == pair {
                        stock.give(queue, &header, len, self.mergeable)?;
                        true
                    } else {
                        let frame = stock.frame(queue, len, self.mergeable);
                        self.move_to(rings, to, &header, &frame, enough)?
                    };
                    self.recent = to;
                    touched |= if given { 1 << to } else { 0 };
                }
                Outcome::Nothing => {
                    self.starved = false;
                    progress = Progress::Done;
                    break;
                }
                Outcome::Starved => {
                    self.starved = true;
                    progress = Progress::Done;
                    break;
                }
            }
        }
        for pair in (0..self.pairs).filter(|pair| touched & 1 << pair != 0) {
            rings.queue(2 * pair).signal()?;
        }
        self.look(rings);
        Ok(progress)
    }

    /// Looks at the link: receiving may have silenced a wake that was about it.
    fn look(&mut self, rings: &mut Rings) {
        let link = self.back.link();
        if link != self.link {
            self.link = link;
            rings.config_changed();
        }
    }

    /// A frame was received into the buffers of the wrong pair: it is copied to those of the right one, or dropped if
    /// that has none.
    fn move_to(
        &mut self,
        rings: &mut Rings,
        pair: u16,
        header: &Header,
        frame: &Buffer,
        enough: u64,
    ) -> Result<bool, Mistake> {
        let (queue, stock) = (rings.queue(2 * pair), &mut self.stocks[usize::from(pair)]);
        if !queue.enabled() || !stock.fill(queue, enough, self.mergeable)? {
            return Ok(false);
        }
        let room = stock.room(queue, self.mergeable);
        if room.len() < header::LEN + frame.len() {
            return Ok(false);
        }
        let mut bytes = vec![0; frame.len() as usize];
        frame.read(0, &mut bytes);
        room.write(header::LEN, &bytes);
        stock.give(queue, header, frame.len(), self.mergeable)?;
        Ok(true)
    }

    /// There is nowhere to receive into, but the wake must become silent: what comes is dropped.
    fn discard(&mut self, rings: &mut Rings) {
        let nowhere = Buffer::new(rings.queue(0).memory());
        for _ in 0..TURN {
            if self.back.receive(&nowhere) == Received::Nothing {
                break;
            }
        }
    }

    fn command(&mut self, command: Command, offered: u64, multi_queue: bool) -> Ack {
        match command {
            Command::Filter => Ack::Ok,
            Command::Mac(mac) => {
                self.mac = mac;
                Ack::Ok
            }
            Command::Pairs(pairs) if multi_queue && (1..=self.pairs).contains(&pairs) => {
                self.active = pairs;
                Ack::Ok
            }
            Command::Offloads(bits) if bits & !offered == 0 => {
                self.leave(config::to_guest(bits));
                Ack::Ok
            }
            Command::Pairs(_) | Command::Offloads(_) | Command::Unknown => Ack::Error,
        }
    }

    fn commands(&mut self, rings: &mut Rings, number: u16) -> Result<Progress, Mistake> {
        let multi_queue = rings.has(config::MULTI_QUEUE);
        let changeable = rings.has(config::CTRL_GUEST_OFFLOADS);
        let agreed = config::guest_bits(config::features(&self.facts, self.pairs));
        let offered = (0..64).map(|bit| 1 << bit).filter(|bit| agreed & bit != 0 && rings.has(*bit));
        let offered = if changeable { offered.sum() } else { 0 };
        let queue = rings.queue(number);
        let progress = queue.each(|queue, chain| {
            let command = control::read(number, &chain)?;
            let ack = self.command(command, offered, multi_queue);
            chain.writable.write(0, &[ack as u8]);
            queue.push(chain.head, 1)?;
            Ok(Fate::Taken)
        });
        queue.signal()?;
        progress
    }
}

/// Both of them.
fn both(one: Progress, other: Progress) -> Progress {
    if one == Progress::More { one } else { other }
}

impl Device for Net {
    fn id(&self) -> DeviceId {
        DeviceId::Net
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn features(&self) -> u64 {
        config::features(&self.facts, self.pairs)
    }

    fn queues(&self) -> Vec<u16> {
        let mut queues = vec![QUEUE_SIZE; usize::from(self.pairs) * 2];
        queues.push(CONTROL_SIZE);
        queues
    }

    fn config(&self) -> Vec<u8> {
        config::bytes(self.mac, self.link, self.pairs, self.facts.mtu)
    }

    fn start(&mut self, rings: &mut Rings) {
        let agreed = (0..64).map(|bit| 1 << bit).filter(|bit| rings.has(*bit)).sum();
        self.mergeable = rings.has(config::MERGEABLE);
        self.from_guest = config::from_guest(agreed);
        self.leave(config::to_guest(agreed));
    }

    fn kick(&mut self, rings: &mut Rings, queue: u16) -> Result<Progress, Mistake> {
        if queue == self.control(rings) {
            // Without the feature there is no such queue.
            return if rings.has(config::CTRL_VQ) { self.commands(rings, queue) } else { Ok(Progress::Done) };
        }
        match queue % 2 {
            0 => self.receive(rings),
            _ => {
                let sent = self.transmit(rings, queue)?;
                // Answers are often there at once.
                Ok(both(sent, self.receive(rings)?))
            }
        }
    }

    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.back.wake()]
    }

    fn listens(&self, _: usize) -> bool {
        !self.starved || self.full != 0
    }

    fn woken(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let mut progress = Progress::Done;
        for queue in (0..2 * self.pairs).filter(|queue| self.full & 1 << queue != 0).collect::<Vec<_>>() {
            progress = both(progress, self.transmit(rings, queue)?);
        }
        progress = both(progress, self.receive(rings)?);
        if self.starved && self.full != 0 {
            self.discard(rings);
        }
        Ok(progress)
    }

    fn reset(&mut self) {
        self.begin();
    }

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}
