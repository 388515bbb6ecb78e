//! The control queue's commands (5.1.6.5).

use crate::chain::Chain;
use crate::mistake::Mistake;

/// What the driver wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Filters: hints of what need not be received, by which nothing is kept back here.
    Filter,
    /// Another hardware address.
    Mac([u8; 6]),
    /// So many pairs of queues.
    Pairs(u16),
    /// These offloads from now on, as feature bits.
    Offloads(u64),
    /// Something that there is not.
    Unknown,
}

/// How it went: `VIRTIO_NET_OK` and `VIRTIO_NET_ERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    Ok = 0,
    Error = 1,
}

/// Reads a command, once.
///
/// # Errors
/// [`Mistake::Request`] where there is no room for an answer.
pub(super) fn read(queue: u16, chain: &Chain) -> Result<Command, Mistake> {
    if chain.writable.is_empty() {
        return Err(Mistake::Request { queue, what: "a command has no room for its answer" });
    }
    let mut bytes = [0; 10];
    let len = chain.readable.read(0, &mut bytes);
    Ok(match (bytes[0], bytes[1], len) {
        (0, 0..=5, 3..) | (1, 0, 2..) => Command::Filter,
        (1, 1, 8..) => match [bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]] {
            group if group[0] & 1 != 0 => Command::Unknown,
            mac => Command::Mac(mac),
        },
        (4, 0, 4..) => Command::Pairs(u16::from_le_bytes([bytes[2], bytes[3]])),
        (5, 0, 10) => {
            let [_, _, bits @ ..] = bytes;
            Command::Offloads(u64::from_le_bytes(bits))
        }
        _ => Command::Unknown,
    })
}
