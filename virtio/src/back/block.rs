//! Behind a disk.

use std::os::fd::BorrowedFd;

use base::Buffer;

/// Bytes in a sector: the unit of virtio's addresses, whatever the disk's blocks are.
pub const SECTOR: u64 = 512;

/// How a disk is made, as far as its users may care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Bytes of the smallest read or write: a power of two, at least 512.
    pub block_size: u32,
    /// Logical blocks in a physical one, as a power of two.
    pub physical_exponent: u8,
    /// The first aligned logical block.
    pub alignment: u8,
    /// The smallest transfer that does well, in logical blocks; 0 for unknown.
    pub minimum_blocks: u16,
    /// The best transfer, in logical blocks; 0 for unknown.
    pub optimal_blocks: u32,
}

impl Default for Topology {
    fn default() -> Self {
        Self { block_size: 512, physical_exponent: 0, alignment: 0, minimum_blocks: 0, optimal_blocks: 0 }
    }
}

/// What a disk is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its size in [`SECTOR`]s.
    pub sectors: u64,
    /// It cannot be written.
    pub read_only: bool,
    /// It knows [`Op::Discard`].
    pub discard: bool,
    /// It knows [`Op::WriteZeroes`].
    pub write_zeroes: bool,
    /// Its serial number: at most 20 bytes of ASCII reach the guest.
    pub serial: String,
    /// Its make.
    pub topology: Topology,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fill the buffer from the disk.
    Read,
    /// Write the buffer to the disk.
    Write,
    /// Make everything durable whose completion was given before this was submitted.
    Flush,
    /// The sectors' contents matter no longer.
    Discard,
    /// The sectors become zero.
    WriteZeroes {
        /// Their space may be given back.
        unmap: bool,
    },
}

/// One request. The front has checked that it lies on the disk, that its length is in whole sectors, and that
/// a read-only disk is only read.
#[derive(Clone, Debug)]
pub struct Request {
    /// Comes back in the completion; no two requests under way have the same.
    pub tag: u64,
    /// What.
    pub op: Op,
    /// The first sector.
    pub sector: u64,
    /// Sectors; 0 for a flush.
    pub sectors: u64,
    /// The data of a read or write: `sectors` × 512 bytes. Empty for the others.
    pub data: Buffer,
}

/// Why a request failed. The back-end has said more in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The host could not do it.
    #[error("the host could not do it")]
    Io,
    /// The disk knows no such operation.
    #[error("the disk knows no such operation")]
    Unsupported,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Whose.
    pub tag: u64,
    /// How it went.
    pub result: Result<(), Failure>,
}

/// A disk. Requests may be done in any order: a guest that wants one before another waits for it.
pub trait Block: Send {
    /// What the disk is; the front asks anew when [`Block::complete`] says so.
    fn facts(&self) -> Facts;
    /// Takes a request. It may wait for [`Block::start`].
    ///
    /// # Errors
    /// The request itself, where there is no room: to be tried again after the next completion.
    fn submit(&mut self, request: Request) -> Result<(), Request>;
    /// No more requests come for now: start all that were taken. At the end of each batch.
    fn start(&mut self) {}
    /// Adds the completions that are there. True if [`Block::facts`] have changed since the last call.
    /// Silences the wake if there are no more.
    fn complete(&mut self, into: &mut Vec<Completion>) -> bool;
    /// Readable while completions are there. Always the same descriptor.
    fn wake(&self) -> BorrowedFd<'_>;
}
