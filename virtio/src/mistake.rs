//! What a driver can do wrong. Each ends the device until the driver resets it (`DEVICE_NEEDS_RESET`, 2.1.2).

use base::OutOfRam;

/// A mistake of the guest's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A ring is not in RAM, or not aligned, or its size is no power of two.
    #[error("queue {0} is not aligned, not in RAM, or its size is not a power of two")]
    Rings(u16),
    /// `avail.idx` has moved by more than the queue has entries.
    #[error("queue {0}: avail.idx jumps")]
    AvailIndex(u16),
    /// More chains are with the device than the queue has entries.
    #[error("queue {0}: more chains are available than the queue has entries")]
    TooMany(u16),
    /// A descriptor that the table does not have.
    #[error("queue {queue}: there is no descriptor {index}")]
    Descriptor {
        /// The queue.
        queue: u16,
        /// The descriptor's number.
        index: u16,
    },
    /// A chain with more descriptors than it may have; also one that loops.
    #[error("queue {0}: a chain is too long, or loops")]
    TooLong(u16),
    /// A chain with more than 2³² − 1 bytes.
    #[error("queue {0}: a chain has more than 4 GiB")]
    TooLarge(u16),
    /// A buffer that is not RAM.
    #[error("queue {queue}: {range}")]
    Buffer {
        /// The queue.
        queue: u16,
        /// What is not RAM.
        range: OutOfRam,
    },
    /// A buffer that the device is to read, after one that it is to write.
    #[error("queue {0}: a readable descriptor follows a writable one")]
    Order(u16),
    /// An indirect table where none may be, or of no possible size.
    #[error("queue {0}: an indirect table is not negotiated, is nested, or has an odd size")]
    Indirect(u16),
    /// The chain is not as the device wants it, so there is no answer to give.
    #[error("queue {queue}: {what}")]
    Request {
        /// The queue.
        queue: u16,
        /// What is wrong with it.
        what: &'static str,
    },
}
