//! One port of a console.

use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use super::control::{Event, message};
use crate::back;
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress, Queue};

/// Bytes of a port's name.
pub(super) const MOST_NAME: usize = 128;
/// Bytes that are carried in one go.
const PIECE: usize = 4096;
/// Pieces to the guest in one turn.
const MOST_PIECES: usize = 64;

/// A port: what stands behind it, and what it is for.
pub struct Port {
    back: Box<dyn back::Console>,
    name: String,
    terminal: bool,
    /// Bytes of the first chain in the ring that the back-end has already.
    sent: u64,
    /// A program in the guest has opened it.
    open: bool,
    /// The driver knows the port.
    known: bool,
    /// What the guest was last told.
    told: (bool, Option<(u16, u16)>),
}

impl Port {
    /// A terminal of the guest's.
    pub fn terminal(back: Box<dyn back::Console>) -> Self {
        Self::new(back, String::new(), true)
    }

    /// A channel that programs in the guest find by its name (Linux: `/dev/virtio-ports/NAME`), of which the first
    /// 128 bytes count.
    pub fn channel(back: Box<dyn back::Console>, name: &str) -> Self {
        let end = (0..=MOST_NAME.min(name.len())).rev().find(|&end| name.is_char_boundary(end));
        Self::new(back, name[..end.unwrap_or(0)].to_owned(), false)
    }

    fn new(back: Box<dyn back::Console>, name: String, terminal: bool) -> Self {
        Self { back, name, terminal, sent: 0, open: false, known: false, told: (false, None) }
    }

    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.back.wake()
    }

    pub(super) fn answer(&mut self) {
        self.back.answer();
    }

    pub(super) fn size(&self) -> Option<(u16, u16)> {
        self.back.size()
    }

    pub(super) fn write_at_once(&mut self, byte: u8) {
        self.back.write(&[byte]); // in an emergency there is no second try
    }

    /// Has what the guest should know changed?
    pub(super) fn look(&mut self) -> bool {
        let now = (self.back.connected(), self.back.size());
        std::mem::replace(&mut self.told, now) != now
    }

    /// What the guest should know, once it knows the port.
    pub(super) fn news(&self, number: usize) -> Vec<Vec<u8>> {
        if !self.known {
            return Vec::new();
        }
        let (connected, size) = self.told;
        let resized = size.map(|(columns, rows)| {
            let mut resize = message(number, Event::Resize, 0);
            resize.extend([columns.to_le_bytes(), rows.to_le_bytes()].concat());
            resize
        });
        let opened = message(number, Event::PortOpen, connected.into());
        resized.into_iter().chain([opened]).collect()
    }

    /// The driver knows the port: what it is.
    pub(super) fn introduce(&mut self, number: usize) -> Vec<Vec<u8>> {
        self.known = true;
        self.look();
        let mut messages = Vec::new();
        if self.terminal {
            messages.push(message(number, Event::ConsolePort, 1));
        }
        if !self.name.is_empty() {
            let mut name = message(number, Event::PortName, 1);
            name.extend(self.name.as_bytes());
            messages.push(name);
        }
        messages.extend(self.news(number));
        messages
    }

    pub(super) fn opened(&mut self, open: bool) {
        self.open = open;
    }

    /// Output of the guest.
    pub(super) fn send(&mut self, queue: &mut Queue) -> Result<Progress, Mistake> {
        let progress = queue.each(|queue, chain| {
            while self.sent < chain.readable.len() {
                let mut piece = [0; PIECE];
                let len = chain.readable.read(self.sent, &mut piece);
                let taken = self.back.write(&piece[..len]).min(len);
                self.sent += taken as u64;
                if taken < len {
                    return Ok(Fate::Full);
                }
            }
            self.sent = 0;
            queue.push(chain.head, 0)?;
            Ok(Fate::Taken)
        })?;
        queue.signal()?;
        Ok(progress)
    }

    /// Input for the guest. A channel gets it when a program has opened it: before, the driver would drop it.
    pub(super) fn receive(&mut self, queue: &mut Queue, multiport: bool) -> Result<Progress, Mistake> {
        if multiport && !self.terminal && !self.open {
            return Ok(Progress::Done);
        }
        let mut progress = Progress::More;
        for _ in 0..MOST_PIECES {
            let Some(chain) = queue.pop()? else {
                if queue.listen()? {
                    continue;
                }
                progress = Progress::Done;
                break;
            };
            let mut piece = [0; PIECE];
            let room = chain.writable.len().min(PIECE as u64) as usize;
            let len = self.back.read(&mut piece[..room]).min(room);
            if len == 0 && room > 0 {
                queue.undo_pop();
                progress = Progress::Done;
                break;
            }
            chain.writable.write(0, &piece[..len]);
            queue.push(chain.head, len as u32)?;
        }
        queue.signal()?;
        Ok(progress)
    }

    pub(super) fn reset(&mut self) {
        (self.sent, self.open, self.known, self.told) = (0, false, false, (false, None));
    }

    pub(super) fn state(&self) -> PortState {
        let Self { back: _, name: _, terminal: _, sent, open, known, told } = self;
        PortState { sent: *sent, open: *open, known: *known, told: *told }
    }

    pub(super) fn resume(&mut self, state: PortState) {
        let PortState { sent, open, known, told } = state;
        (self.sent, self.open, self.known, self.told) = (sent, open, known, told);
    }
}

/// A port at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PortState {
    sent: u64,
    open: bool,
    known: bool,
    told: (bool, Option<(u16, u16)>),
}
