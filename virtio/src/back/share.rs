//! Behind a shared directory.

use std::os::fd::BorrowedFd;

use base::{Buffer, Record, RestoreError};

/// A message of the guest's, in FUSE's protocol (`linux/fuse.h`). The front has checked that it is no shorter than a
/// header and no longer than the longest message.
#[derive(Clone, Debug)]
pub struct ShareRequest {
    /// Comes back with the reply; no two requests under way have the same.
    pub tag: u64,
    /// The message.
    pub message: Buffer,
    /// Where the reply goes; empty for messages that have none.
    pub reply: Buffer,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareReply {
    /// Whose.
    pub tag: u64,
    /// Bytes of the reply that were written.
    pub written: u32,
}

/// A directory of the host's. Requests may be done in any order: a guest that wants one before another waits for it.
pub trait Share: Send {
    /// The name by which guests mount it: 1 to 36 bytes.
    fn tag(&self) -> &str;
    /// Takes a request. There are never more under way than the front's queues have entries.
    fn submit(&mut self, request: ShareRequest);
    /// Adds the replies that are there, and silences the wake.
    fn complete(&mut self, into: &mut Vec<ShareReply>);
    /// Readable while replies are there. Always the same descriptor.
    fn wake(&self) -> BorrowedFd<'_>;
    /// The guest knows nothing any more: as at the start. No request is under way, as with the two that follow.
    fn reset(&mut self);
    /// What the guest knows: which files, and which of them it has open.
    fn save(&self) -> Record;
    /// Puts that back.
    ///
    /// # Errors
    /// As [`base::Saved::restore_record`].
    fn restore(&mut self, record: &Record) -> Result<(), RestoreError>;
}
