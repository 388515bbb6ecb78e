//! Why there is no tap, and what to do.

use std::io;

use super::InterfaceName;

/// Why a tap cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no taps.
    #[error(
        "/dev/net/tun cannot be opened: {0}; load the kernel's module (`modprobe tun` as root), and in a container let it have the device"
    )]
    Device(io::Error),
    /// The user may not make one.
    #[error(
        "making the interface {0} takes the right to configure the network (CAP_NET_ADMIN). Let an administrator \
         make it for you: `ip tuntap add dev {0} mode tap user $(id -un) vnet_hdr && ip link set {0} up`; or use --net user, which needs no rights"
    )]
    Rights(InterfaceName),
    /// It is there, but another user's.
    #[error(
        "the interface {0} belongs to another user; let an administrator give it to you: `ip tuntap add dev NAME mode tap user $(id -un) vnet_hdr` makes one"
    )]
    Owner(InterfaceName),
    /// Somebody else has it.
    #[error("the interface {0} is in use by another program, or is no tap")]
    Busy(InterfaceName),
    /// It is down, and the user may not bring it up.
    #[error("the interface {0} is down; let an administrator bring it up: `ip link set {0} up`")]
    Down(InterfaceName),
    /// There is no such bridge.
    #[error(
        "there is no bridge {0}; `ip link add {0} type bridge && ip link set {0} up` (as root) makes one"
    )]
    NoBridge(InterfaceName),
    /// The user may not use a bridge.
    #[error(
        "putting a machine into the bridge {0} takes the right to configure the network (CAP_NET_ADMIN). Let an \
         administrator make a tap in it for you: `ip tuntap add dev rf0 mode tap user $(id -un) vnet_hdr && \
         ip link set rf0 master {0} up`, and say --net tap=rf0"
    )]
    BridgeRights(InterfaceName),
    /// The kernel refuses otherwise.
    #[error("the interface {name}: {what}: {error}")]
    Host {
        /// Its name.
        name: InterfaceName,
        /// What was tried.
        what: &'static str,
        /// The kernel's word.
        error: io::Error,
    },
}
