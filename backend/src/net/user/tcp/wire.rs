//! The wire between one flow's end of TCP and the guest: what smoltcp calls a device.

use std::num::NonZeroUsize;

use smoltcp::iface::{Config, Interface};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken,
};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Address};

use crate::net::user::outbox::Outbox;
use crate::net::user::plan::Plan;

/// An IP packet from the guest, or none, and where packets to it go.
pub struct Wire<'a> {
    /// What comes next from the guest.
    pub input: Option<&'a [u8]>,
    /// The way to it.
    pub out: &'a mut Outbox,
}

/// An end of IP at the address that the guest believes to talk to; packets leave it towards everywhere.
pub fn interface(address: Ipv4Address, now: Instant, wire: &mut Wire<'_>) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    // The first sequence numbers follow from it; a guest can only fool itself by guessing them.
    config.random_seed = getrandom::u64().unwrap_or_else(|_| now.total_micros() as u64);
    let mut interface = Interface::new(config, wire, now);
    interface.update_ip_addrs(|addresses| {
        // It holds at least one.
        let _ = addresses.push(IpCidr::new(address.into(), 0));
    });
    interface
}

impl Device for Wire<'_> {
    type RxToken<'a>
        = Packet<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Room<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Packet<'_>, Room<'_>)> {
        let packet = self.input.take()?;
        Some((Packet(packet), Room { out: self.out, segments: None }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        self.out.has_room().then_some(Room { out: self.out, segments: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut able = DeviceCapabilities::default();
        able.medium = Medium::Ip;
        able.max_transmission_unit = Plan::MTU;
        // Between the guest and us is memory, which does not garble.
        able.checksum = ChecksumCapabilities::ignored();
        able.checksum.ipv4 = Checksum::Both;
        able.segmentation.tcpv4 = NonZeroUsize::new(usize::from(u16::MAX));
        able
    }
}

/// A packet from the guest.
pub struct Packet<'a>(&'a [u8]);

impl RxToken for Packet<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

/// Room for a packet to the guest.
pub struct Room<'a> {
    out: &'a mut Outbox,
    segments: Option<u16>,
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        self.out.tcp(len, self.segments, fill)
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segments = meta.segmentation_offload_size.map(std::num::NonZero::get);
    }
}
