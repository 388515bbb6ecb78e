//! From a chain to what is to be done (5.2.6).

use base::Buffer;

use super::config::{MOST_RANGE_SECTORS, MOST_RANGES};
use crate::back::{Facts, Op, Request, SECTOR};
use crate::chain::Chain;
use crate::mistake::Mistake;

/// Bytes of a request's head: type, reserved, sector.
const HEAD: u64 = 16;
/// Bytes that describe a range.
const RANGE: u64 = 16;
/// Bytes of the serial number.
const ID: u64 = 20;
const UNMAP: u32 = 1;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

/// What the guest reads in the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// What is to be done for a request.
#[derive(Debug)]
pub(super) enum Work {
    /// By the back-end. The tags are still missing.
    Parts {
        parts: Vec<Request>,
        /// Bytes of data that the guest gets.
        written: u32,
    },
    /// It is done already.
    Done { status: Status, written: u32 },
}

const FAILED: Work = Work::Done { status: Status::IoError, written: 0 };

/// A request, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub work: Work,
    /// Where the status goes: one byte.
    pub status: Buffer,
}

impl Plan {
    /// Reads a chain. A request that cannot be is answered with an error.
    ///
    /// # Errors
    /// Where there is no place for an answer.
    pub fn new(queue: u16, chain: &Chain, facts: &Facts) -> Result<Self, Mistake> {
        let mut data_in = chain.writable.clone();
        let what = "the request has no byte for its status";
        let data_len = data_in.len().checked_sub(1).ok_or(Mistake::Request { queue, what })?;
        let data_in = data_in.split_front(data_len);
        let status = chain.writable.slice(data_len, 1);
        Ok(Self { work: work(&chain.readable, data_in, facts), status })
    }
}

fn work(readable: &Buffer, data_in: Buffer, facts: &Facts) -> Work {
    let mut head = [0; HEAD as usize];
    if readable.read(0, &mut head) < head.len() {
        return FAILED;
    }
    let data_out = readable.slice(HEAD, u64::MAX);
    let sector =
        u64::from_le_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]);
    match u32::from_le_bytes([head[0], head[1], head[2], head[3]]) {
        IN => transfer(Op::Read, sector, data_in, facts),
        OUT if facts.read_only => FAILED,
        OUT => transfer(Op::Write, sector, data_out, facts),
        FLUSH => parts(vec![part(Op::Flush, 0, 0, data_out.slice(0, 0))]),
        GET_ID => identify(&data_in, facts),
        DISCARD if facts.discard && !facts.read_only => ranges(&data_out, facts, |_| Op::Discard),
        WRITE_ZEROES if facts.write_zeroes && !facts.read_only => {
            ranges(&data_out, facts, |flags| Op::WriteZeroes { unmap: flags & UNMAP != 0 })
        }
        _ => Work::Done { status: Status::Unsupported, written: 0 },
    }
}

fn part(op: Op, sector: u64, sectors: u64, data: Buffer) -> Request {
    Request { tag: 0, op, sector, sectors, data }
}

fn parts(parts: Vec<Request>) -> Work {
    Work::Parts { parts, written: 0 }
}

/// Do these sectors lie on the disk, in whole blocks?
fn fits(sector: u64, sectors: u64, facts: &Facts) -> bool {
    let block = u64::from(facts.topology.block_size) / SECTOR;
    let end = sector.checked_add(sectors);
    end.is_some_and(|end| end <= facts.sectors)
        && sector.is_multiple_of(block)
        && (sectors.is_multiple_of(block) || sector + sectors == facts.sectors)
}

fn transfer(op: Op, sector: u64, data: Buffer, facts: &Facts) -> Work {
    let (len, sectors) = (data.len(), data.len() / SECTOR);
    if len == 0 || !len.is_multiple_of(SECTOR) || !fits(sector, sectors, facts) {
        return FAILED;
    }
    // A chain is shorter than 4 GiB.
    let written = if op == Op::Read { len as u32 } else { 0 };
    Work::Parts { parts: vec![part(op, sector, sectors, data)], written }
}

fn identify(into: &Buffer, facts: &Facts) -> Work {
    let mut id = [0; ID as usize];
    let serial = facts.serial.as_bytes();
    let len = serial.len().min(id.len());
    id[..len].copy_from_slice(&serial[..len]);
    if into.len() < ID {
        return FAILED;
    }
    into.write(0, &id);
    Work::Done { status: Status::Ok, written: ID as u32 }
}

/// A discard or a write of zeroes: a range or several.
fn ranges(described: &Buffer, facts: &Facts, op: impl Fn(u32) -> Op) -> Work {
    let count = described.len() / RANGE;
    let most = u64::from(MOST_RANGES);
    if !described.len().is_multiple_of(RANGE) || !(1..=most).contains(&count) {
        return FAILED;
    }
    let mut all = Vec::new();
    for n in 0..count {
        let mut range = [0; RANGE as usize];
        described.read(n * RANGE, &mut range);
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, f0, f1, f2, f3] = range;
        let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
        let op = op(u32::from_le_bytes([f0, f1, f2, f3]));
        let unknown = if matches!(op, Op::WriteZeroes { .. }) { !UNMAP } else { !0 };
        if u32::from_le_bytes([f0, f1, f2, f3]) & unknown != 0 {
            return Work::Done { status: Status::Unsupported, written: 0 };
        }
        if sectors == 0 || sectors > MOST_RANGE_SECTORS || !fits(sector, sectors.into(), facts) {
            return FAILED;
        }
        all.push(part(op, sector, sectors.into(), described.slice(0, 0)));
    }
    parts(all)
}
