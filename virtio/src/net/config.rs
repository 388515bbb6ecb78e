//! An interface's feature bits and configuration (5.1.3, 5.1.4).

use crate::back::{NetFacts, Offloads};

pub(super) const CTRL_GUEST_OFFLOADS: u64 = 1 << 2;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
pub(super) const MERGEABLE: u64 = 1 << 15;
const STATUS: u64 = 1 << 16;
pub(super) const CTRL_VQ: u64 = 1 << 17;
const CTRL_RX: u64 = 1 << 18;
pub(super) const MULTI_QUEUE: u64 = 1 << 22;
const CTRL_MAC_ADDR: u64 = 1 << 23;

const LINK_UP: u16 = 1;

/// The bits by which the driver says what it takes (`GUEST_…`), which are those of the command that changes it, too
/// (5.1.6.5.6).
const TO_GUEST: [(u64, Offloads); 6] = [
    (1 << 1, Offloads::CHECKSUM),
    (1 << 7, Offloads::TSO4),
    (1 << 8, Offloads::TSO6),
    (1 << 9, Offloads::ECN),
    (1 << 54, Offloads::USO4),
    (1 << 55, Offloads::USO6),
];

/// The bits by which the device says what it takes (`HOST_…` and `CSUM`).
const FROM_GUEST: [(u64, Offloads); 5] = [
    (1 << 0, Offloads::CHECKSUM),
    (1 << 11, Offloads::TSO4),
    (1 << 12, Offloads::TSO6),
    (1 << 13, Offloads::ECN),
    (1 << 56, Offloads::USO4.union(Offloads::USO6)),
];

fn bits(table: &[(u64, Offloads)], offloads: Offloads) -> u64 {
    table.iter().filter(|(_, offload)| offloads.contains(*offload)).map(|(bit, _)| bit).sum()
}

fn offloads(table: &[(u64, Offloads)], bits: u64) -> Offloads {
    table.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, offload)| *offload).collect()
}

/// What a driver that has agreed to these features, or set these offloads, takes.
pub(super) fn to_guest(bits: u64) -> Offloads {
    offloads(&TO_GUEST, bits)
}

/// What it may leave to the device.
pub(super) fn from_guest(features: u64) -> Offloads {
    offloads(&FROM_GUEST, features)
}

/// The bits.
pub(super) fn features(facts: &NetFacts, pairs: u16) -> u64 {
    MTU | MAC
        | MERGEABLE
        | STATUS
        | CTRL_VQ
        | CTRL_RX
        | CTRL_MAC_ADDR
        | CTRL_GUEST_OFFLOADS
        | if pairs > 1 { MULTI_QUEUE } else { 0 }
        | bits(&TO_GUEST, facts.to_guest)
        | bits(&FROM_GUEST, facts.from_guest)
}

/// `struct virtio_net_config`.
pub(super) fn bytes(mac: [u8; 6], link: bool, pairs: u16, mtu: u16) -> Vec<u8> {
    let status = if link { LINK_UP } else { 0 };
    let words = [status, pairs, mtu].map(u16::to_le_bytes);
    [&mac[..], words.as_flattened()].concat()
}

/// Those of the bits by which the driver says what it takes.
pub(super) fn guest_bits(features: u64) -> u64 {
    features & bits(&TO_GUEST, Offloads::all())
}
