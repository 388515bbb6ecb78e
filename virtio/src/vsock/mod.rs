//! Sockets between guest and host (5.10): streams of bytes by port numbers, without a network.
//!
//! ```text
//!   queues   0 receive    1 transmit    2 event
//!
//!   the guest's packet ─► hear ─► Connection ─► back-end       the table has up to 256 of them
//!   back-end ─► news ─► line ─► speak ─► a buffer of the guest's
//! ```
//!
//! **What is kept is bounded**, whatever guest and host do: [`connection`] says how for bytes, [`table`] for
//! connections. Packets that reset a connection wait until the guest has a buffer for them; while many do, nothing more of the
//! guest's is heard. (Those of the host's making are no more than the connections that there were.)
//!
//! **What is wrong is answered by a reset of the connection**: a packet of an unknown type, from or to somebody else's
//! address, for a connection that is none, or beyond the credit. Only a buffer that is no packet at all is a
//! [`Mistake`].
//!
//! **At rest** there are no connections: a machine that goes on elsewhere has none, and the event queue tells the guest so
//! (`VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`, 5.10.6.7): its sockets end, and listening ones go on.

mod connection;
mod header;
mod table;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use base::{Buffer, Record, RestoreError, Saved};
use serde::{Deserialize, Serialize};

use crate::back::{Stream, Vsock as Back, VsockNews};
use crate::device::{Device, DeviceId};
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress};
use crate::rings::Rings;
use connection::{Connection, Say};
use header::{Header, Op, STREAM};
use table::{Ports, Table};

const F_STREAM: u64 = 1 << 0;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const EVENT: u16 = 2;
const QUEUE_SIZE: u16 = 256;

/// The host's address (`VMADDR_CID_HOST`).
const HOST_CID: u64 = 2;
/// `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`.
const TRANSPORT_RESET: u32 = 0;

/// Bytes in a packet to the guest, at most.
const MOST_BYTES: usize = 64 << 10;
/// Resets that wait for the guest, at which nothing more of it is heard.
const MOST_RESETS: usize = 64;

/// The front.
pub struct Vsock {
    back: Box<dyn Back>,
    cid: u32,
    name: String,
    table: Table,
    /// Packets that the guest is to get before any other.
    resets: VecDeque<Header>,
    /// The guest is to hear that its connections are gone.
    reset_due: bool,
    /// Chains of the guest's were left because of [`MOST_RESETS`].
    stalled: bool,
    /// For payload, kept to save allocations.
    bytes: Vec<u8>,
    news: Vec<VsockNews>,
}

impl Vsock {
    /// The guest's addresses: 0 to 2 and the last are others' (5.10.4).
    pub const CIDS: std::ops::RangeInclusive<u32> = 3..=u32::MAX - 1;

    /// A socket device by which the guest has this address. `name` is what messages call it.
    ///
    /// # Panics
    /// If the address is none of [`Vsock::CIDS`].
    pub fn new(back: Box<dyn Back>, cid: u32, name: impl Into<String>) -> Self {
        assert!(Self::CIDS.contains(&cid), "no guest has the address {cid}");
        Self {
            back,
            cid,
            name: name.into(),
            table: Table::default(),
            resets: VecDeque::new(),
            reset_due: false,
            stalled: false,
            bytes: vec![0; MOST_BYTES],
            news: Vec::new(),
        }
    }

    /// The guest's packets.
    fn hear(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let queue = rings.queue(TRANSMIT);
        self.stalled = false;
        let progress = queue.each(|queue, chain| {
            if self.resets.len() >= MOST_RESETS {
                self.stalled = true;
                return Ok(Fate::Full);
            }
            let what = "a packet that is shorter than its header";
            let header = Header::read(&chain.readable).ok_or(Mistake::Request { queue: TRANSMIT, what })?;
            self.packet(&header, &chain.readable);
            queue.push(chain.head, 0)?;
            Ok(Fate::Taken)
        })?;
        queue.signal()?;
        Ok(progress)
    }

    fn packet(&mut self, header: &Header, packet: &Buffer) {
        let ports = Ports { host: header.dst_port, guest: header.src_port };
        let cids = (header.src_cid, header.dst_cid) == (u64::from(self.cid), HOST_CID);
        let whole = packet.len() - header::LEN as u64 >= u64::from(header.len);
        let op = Op::of(header.op).filter(|_| cids && whole && header.kind == STREAM);
        if header.op == Op::Rst as u16 {
            // It is never answered by one.
            if op.is_some() {
                self.forget(ports);
            }
            return;
        }
        if op == Some(Op::Request) && self.table.get(ports).is_none() {
            return self.request(ports, header);
        }
        let Some((op, connection)) = op.zip(self.table.get(ports)) else {
            if cids {
                self.forget(ports);
            }
            return self.answer_by_reset(header);
        };
        connection.credit(header.buf_alloc, header.fwd_cnt);
        let back = &mut *self.back;
        let fine = match op {
            Op::Response if connection.awaits_response() => {
                connection.opened();
                back.accept(connection.stream, ports.host);
                true
            }
            Op::Rw if connection.is_open() && header.len <= connection::BUFFER => {
                let mut bytes = vec![0; header.len as usize];
                packet.read(header::LEN as u64, &mut bytes);
                connection.take(&bytes, back)
            }
            Op::Shutdown if connection.is_open() => {
                connection.shut_down(header.flags, back);
                !connection.is_over()
            }
            Op::CreditUpdate if connection.is_open() => true,
            Op::CreditRequest if connection.is_open() => {
                connection.asked();
                true
            }
            _ => false,
        };
        match fine {
            true => self.table.line_up(ports),
            false => {
                self.forget(ports);
                self.answer_by_reset(header);
            }
        }
    }

    /// The guest asks for a connection.
    fn request(&mut self, ports: Ports, header: &Header) {
        let stream = if self.table.is_full() { None } else { self.back.connect(ports.host) };
        match stream {
            Some(stream) => {
                let mut connection = Connection::from_guest(stream);
                connection.credit(header.buf_alloc, header.fwd_cnt);
                self.table.add(ports, connection);
            }
            None => self.answer_by_reset(header),
        }
    }

    fn answer_by_reset(&mut self, header: &Header) {
        self.resets.push_back(Header {
            src_cid: header.dst_cid,
            dst_cid: u64::from(self.cid),
            src_port: header.dst_port,
            dst_port: header.src_port,
            kind: STREAM,
            op: Op::Rst as u16,
            ..Header::default()
        });
    }

    /// Ends a connection without a word. True if the guest knew of it.
    fn forget(&mut self, ports: Ports) -> bool {
        self.table.remove(ports).is_some_and(|connection| {
            self.back.close(connection.stream);
            connection.known
        })
    }

    /// Ends a connection, and tells the guest.
    fn reset_connection(&mut self, ports: Ports) {
        if self.forget(ports) {
            let header = self.header(ports, Op::Rst, 0);
            self.resets.push_back(header);
        }
    }

    fn header(&self, ports: Ports, op: Op, flags: u32) -> Header {
        Header {
            src_cid: HOST_CID,
            dst_cid: u64::from(self.cid),
            src_port: ports.host,
            dst_port: ports.guest,
            kind: STREAM,
            op: op as u16,
            flags,
            ..Header::default()
        }
    }

    /// Packets to the guest, as long as it has buffers for them.
    fn speak(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let mut progress = Progress::More;
        for _ in 0..QUEUE_SIZE {
            if self.resets.is_empty() && self.table.first().is_none() {
                progress = Progress::Done;
                break;
            }
            let queue = rings.queue(RECEIVE);
            let Some(chain) = queue.pop()? else {
                if queue.listen()? {
                    continue;
                }
                progress = Progress::Done;
                break;
            };
            if chain.writable.len() <= header::LEN as u64 {
                let what = "a buffer for packets that has no room for bytes";
                return Err(Mistake::Request { queue: RECEIVE, what });
            }
            match self.next(chain.writable.len() - header::LEN as u64) {
                Some(header) => {
                    let len = header.len as usize;
                    chain.writable.write(0, &header.bytes());
                    chain.writable.write(header::LEN as u64, &self.bytes[..len]);
                    rings.queue(RECEIVE).push(chain.head, (header::LEN + len) as u32)?;
                }
                None => queue.undo_pop(),
            }
        }
        rings.queue(RECEIVE).signal()?;
        // Who was not heard because of too many resets may be, now.
        let heard_again = self.stalled && self.resets.len() < MOST_RESETS;
        Ok(if heard_again { Progress::More } else { progress })
    }

    /// The next packet, whose payload is then in [`Vsock::bytes`]; `None` if who was first in the line has nothing to say.
    fn next(&mut self, room: u64) -> Option<Header> {
        if let Some(header) = self.resets.pop_front() {
            return Some(header);
        }
        let ports = self.table.first()?;
        let connection = self.table.get(ports)?;
        let room = room.min(MOST_BYTES as u64) as usize;
        match connection.next(&mut self.bytes[..room], &mut *self.back) {
            Ok(Some(say)) => {
                let (buf_alloc, fwd_cnt) = connection.own_credit();
                self.table.turn_over(true);
                let (op, flags, len) = match say {
                    Say::Plain(op, flags) => (op, flags, 0),
                    Say::Bytes(len) => (Op::Rw, 0, len as u32),
                };
                Some(Header { len, buf_alloc, fwd_cnt, ..self.header(ports, op, flags) })
            }
            Ok(None) => {
                self.table.turn_over(false);
                None
            }
            Err(_) => {
                self.reset_connection(ports);
                self.resets.pop_front()
            }
        }
    }

    /// What has happened at the back-end.
    fn happened(&mut self, news: VsockNews) {
        if let VsockNews::Incoming { stream, port } = news {
            return self.incoming(stream, port);
        }
        let (VsockNews::Readable(stream) | VsockNews::Writable(stream) | VsockNews::Gone(stream)) = news
        else {
            return;
        };
        // News of a stream that was closed meanwhile is old.
        let Some(ports) = self.table.ports_of(stream) else { return };
        let Some(connection) = self.table.get(ports) else { return };
        let fine = match news {
            VsockNews::Writable(_) => {
                connection.flush(&mut *self.back);
                !connection.is_over()
            }
            VsockNews::Gone(_) if !connection.is_open() => false,
            VsockNews::Gone(_) => {
                connection.goes();
                !connection.is_over()
            }
            _ => {
                connection.may_be_read();
                true
            }
        };
        match fine {
            true => self.table.line_up(ports),
            false => self.reset_connection(ports),
        }
    }

    /// Somebody on the host asks for a port of the guest's.
    fn incoming(&mut self, stream: Stream, port: u32) {
        if self.table.is_full() {
            return self.back.close(stream);
        }
        let ports = self.table.ports_to(port);
        self.table.add(ports, Connection::from_host(stream));
    }

    /// Tells the guest that its connections are gone.
    fn announce(&mut self, rings: &mut Rings) -> Result<(), Mistake> {
        let queue = rings.queue(EVENT);
        while self.reset_due {
            if let Some(chain) = queue.pop()? {
                let len = chain.writable.write(0, &TRANSPORT_RESET.to_le_bytes());
                queue.push(chain.head, len as u32)?;
                self.reset_due = false;
            } else if !queue.listen()? {
                break;
            }
        }
        queue.signal()
    }

    fn clear(&mut self) {
        for stream in self.table.clear() {
            self.back.close(stream);
        }
        self.resets.clear();
        (self.reset_due, self.stalled) = (false, false);
    }
}

impl Device for Vsock {
    fn id(&self) -> DeviceId {
        DeviceId::Socket
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn features(&self) -> u64 {
        F_STREAM
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 3]
    }

    fn config(&self) -> Vec<u8> {
        u64::from(self.cid).to_le_bytes().to_vec()
    }

    fn kick(&mut self, rings: &mut Rings, _: u16) -> Result<Progress, Mistake> {
        let heard = self.hear(rings)?;
        let spoke = self.speak(rings)?;
        self.announce(rings)?;
        Ok(if heard == Progress::Done { spoke } else { heard })
    }

    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.back.wake()]
    }

    fn woken(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let mut news = std::mem::take(&mut self.news);
        self.back.news(&mut news);
        news.drain(..).for_each(|news| self.happened(news));
        self.news = news;
        self.speak(rings)
    }

    fn reset(&mut self) {
        self.clear();
    }

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}

/// A socket device at rest: its connections do not go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockState {
    cid: u32,
}

impl Saved for Vsock {
    type State = VsockState;
    const KIND: &'static str = "virtio-vsock";
    const VERSION: u16 = 1;

    fn save(&self) -> VsockState {
        // Connections end with the machine that had them. That the guest is to hear so is true of every state.
        let Self { back: _, cid, name: _, table: _, resets: _, reset_due: _, stalled: _, bytes: _, news: _ } =
            self;
        VsockState { cid: *cid }
    }

    fn restore(&mut self, state: VsockState) -> Result<(), RestoreError> {
        let VsockState { cid } = state;
        if !Self::CIDS.contains(&cid) {
            let reason = format!("no guest has the address {cid}");
            return Err(RestoreError::Invalid { kind: Self::KIND, reason });
        }
        self.clear();
        (self.cid, self.reset_due) = (cid, true);
        Ok(())
    }
}
