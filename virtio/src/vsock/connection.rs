//! One connection: what is on its way, who may send how much, and what the guest is still to be told.
//!
//! **Credit** (5.10.6.3). Each side says how many bytes it buffers (`buf_alloc`) and how many have left that buffer
//! (`fwd_cnt`); the other never has more under way than fit. Towards the guest we read from the back-end only what the
//! guest has room for, so nothing is kept here. From the guest at most [`BUFFER`] bytes wait until the back-end takes
//! them; a guest that sends more breaks the rules, and its connection is reset.

use std::collections::VecDeque;

use super::header::{NO_RECEIVE, NO_SEND, Op};
use crate::back::{Broken, Heard, Stream, Vsock};

/// Bytes of the guest's that wait for the back-end, at most.
pub(super) const BUFFER: u32 = 256 << 10;
/// The guest is told of room when so much has become free since it last heard.
const WORTH_TELLING: u32 = BUFFER / 4;

/// What the guest is told next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// A packet with these flags and no payload.
    Plain(Op, u32),
    /// The first so many bytes of what was read.
    Bytes(usize),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub stream: Stream,
    /// It waits in the table's line to say something.
    pub in_line: bool,
    /// The guest has heard of it.
    pub known: bool,
    /// Both sides want it.
    open: bool,
    request_due: bool,
    response_due: bool,
    credit_due: bool,
    /// What the guest is to hear in a shutdown, and has heard.
    shutdown_due: u32,
    shutdown_told: u32,
    /// The stream may have something to read.
    readable: bool,
    /// The other end is gone.
    gone: bool,
    /// Bytes sent to the guest, modulo 2³².
    sent: u32,
    guest_buffer: u32,
    guest_forwarded: u32,
    asked_for_credit: bool,
    /// Bytes from the guest that the back-end has not taken.
    waiting: VecDeque<u8>,
    forwarded: u32,
    forwarded_told: u32,
    /// What the guest's shutdowns said.
    guest_shutdown: u32,
    ended: bool,
}

impl Connection {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            in_line: false,
            known: false,
            open: false,
            request_due: false,
            response_due: false,
            credit_due: false,
            shutdown_due: 0,
            shutdown_told: 0,
            readable: false,
            gone: false,
            sent: 0,
            guest_buffer: 0,
            guest_forwarded: 0,
            asked_for_credit: false,
            waiting: VecDeque::new(),
            forwarded: 0,
            forwarded_told: 0,
            guest_shutdown: 0,
            ended: false,
        }
    }

    /// The guest has asked for it, and the back-end has it.
    pub fn from_guest(stream: Stream) -> Self {
        Self { known: true, open: true, response_due: true, readable: true, ..Self::new(stream) }
    }

    /// Somebody on the host asks for it.
    pub fn from_host(stream: Stream) -> Self {
        Self { request_due: true, ..Self::new(stream) }
    }

    /// Is it the guest's turn to answer the request?
    pub fn awaits_response(&self) -> bool {
        self.known && !self.open
    }

    /// The guest takes the connection.
    pub fn opened(&mut self) {
        (self.open, self.readable) = (true, true);
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Every packet of the guest's says what it has room for.
    pub fn credit(&mut self, buffer: u32, forwarded: u32) {
        (self.guest_buffer, self.guest_forwarded) = (buffer, forwarded);
        // An answer without room is one, too: the guest tells of itself when there is some.
        self.asked_for_credit &= self.room() == 0;
    }

    /// Bytes that the guest has room for.
    fn room(&self) -> usize {
        let under_way = self.sent.wrapping_sub(self.guest_forwarded);
        self.guest_buffer.saturating_sub(under_way) as usize
    }

    pub fn may_be_read(&mut self) {
        self.readable = true;
    }

    /// The other end reads no more.
    pub fn goes(&mut self) {
        (self.gone, self.readable) = (true, true);
        self.waiting.clear();
    }

    /// The guest wants to know how much room there is.
    pub fn asked(&mut self) {
        self.credit_due = true;
    }

    /// Bytes from the guest. False if it may not send them.
    pub fn take(&mut self, bytes: &[u8], back: &mut dyn Vsock) -> bool {
        let room = BUFFER as usize - self.waiting.len();
        let says_no_more = self.guest_shutdown & NO_SEND != 0;
        // Who neither is heard nor hears has no use for the connection.
        let in_vain = self.gone && self.guest_shutdown & NO_RECEIVE != 0;
        if says_no_more || in_vain || bytes.len() > room {
            return false;
        }
        let taken = if self.waiting.is_empty() { self.give(bytes, back) } else { 0 };
        self.waiting.extend(&bytes[taken..]);
        true
    }

    /// Gives the back-end what waits.
    pub fn flush(&mut self, back: &mut dyn Vsock) {
        let mut waiting = std::mem::take(&mut self.waiting);
        while !waiting.is_empty() {
            let piece = waiting.as_slices().0;
            let (len, taken) = (piece.len(), self.give(piece, back));
            waiting.drain(..taken);
            if taken < len {
                break;
            }
        }
        self.waiting = waiting;
        self.end(back);
    }

    /// Gives the back-end bytes, and says how many of them are done with. Those that nobody reads any more are: what the
    /// other end had sent before it went is still the guest's to read.
    fn give(&mut self, bytes: &[u8], back: &mut dyn Vsock) -> usize {
        let taken = if self.gone { Err(Broken) } else { back.write(self.stream, bytes) };
        if taken.is_err() {
            self.goes();
        }
        let taken = taken.map_or(bytes.len(), |taken| taken.min(bytes.len()));
        self.forwarded = self.forwarded.wrapping_add(taken as u32);
        self.credit_due |= self.forwarded.wrapping_sub(self.forwarded_told) >= WORTH_TELLING;
        taken
    }

    /// The guest's shutdown. It takes nothing back of what it said before.
    pub fn shut_down(&mut self, flags: u32, back: &mut dyn Vsock) {
        self.guest_shutdown |= flags & (NO_RECEIVE | NO_SEND);
        self.end(back);
    }

    /// Tells the other end that the guest sends no more, when it has everything.
    fn end(&mut self, back: &mut dyn Vsock) {
        if self.guest_shutdown & NO_SEND != 0 && self.waiting.is_empty() && !self.ended {
            self.ended = true;
            back.end(self.stream);
        }
    }

    /// Has the guest done with both directions, and the back-end with what it sent?
    pub fn is_over(&self) -> bool {
        self.guest_shutdown == NO_RECEIVE | NO_SEND && self.waiting.is_empty()
    }

    /// What `buf_alloc` and `fwd_cnt` of a packet to the guest are.
    pub fn own_credit(&mut self) -> (u32, u32) {
        (self.forwarded_told, self.credit_due) = (self.forwarded, false);
        (BUFFER, self.forwarded)
    }

    /// What is to be said next, where `into` is the room in the guest's buffer. `None`: nothing, for now.
    pub fn next(&mut self, into: &mut [u8], back: &mut dyn Vsock) -> Result<Option<Say>, Broken> {
        if std::mem::take(&mut self.request_due) {
            self.known = true;
            return Ok(Some(Say::Plain(Op::Request, 0)));
        }
        if std::mem::take(&mut self.response_due) {
            return Ok(Some(Say::Plain(Op::Response, 0)));
        }
        if let Some(say) = self.read(into, back)? {
            return Ok(Some(say));
        }
        if self.shutdown_due & !self.shutdown_told != 0 {
            self.shutdown_told |= self.shutdown_due;
            return Ok(Some(Say::Plain(Op::Shutdown, self.shutdown_told)));
        }
        Ok(self.credit_due.then_some(Say::Plain(Op::CreditUpdate, 0)))
    }

    /// Bytes for the guest, as many as there is room for.
    fn read(&mut self, into: &mut [u8], back: &mut dyn Vsock) -> Result<Option<Say>, Broken> {
        if !self.open || !self.readable || self.guest_shutdown & NO_RECEIVE != 0 {
            return Ok(None);
        }
        let room = self.room().min(into.len());
        if room == 0 {
            let first = !std::mem::replace(&mut self.asked_for_credit, true);
            return Ok(first.then_some(Say::Plain(Op::CreditRequest, 0)));
        }
        match back.read(self.stream, &mut into[..room])? {
            Heard::Bytes(len) => {
                let len = len.min(room);
                self.sent = self.sent.wrapping_add(len as u32);
                return Ok(Some(Say::Bytes(len)));
            }
            Heard::Nothing => {}
            Heard::End => self.shutdown_due |= if self.gone { NO_SEND | NO_RECEIVE } else { NO_SEND },
        }
        self.readable = false;
        Ok(None)
    }
}
