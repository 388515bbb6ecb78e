//! The devices on the machine's PCI bus: each front with what stands behind it.

use backend::block::{Disk, Spec};
use backend::net::{self, Opened};
use control::DeviceKind;
use machine::pci::Plug;
use virtio::{Balloon, BalloonHandle, Blk, Console, Net, Port, Rng, VirtioPci};

use super::image_disk::ImageDisk;
use super::served::Fitting;
use super::sharing::Shared;
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::message;

/// All devices, in the order of their places on the bus: the image's own disk, disks, networks and what is shared as the command
/// line has them, then the others. `agent` is the port of the guest's agent.
///
/// # Errors
/// A disk that cannot be opened, a network that cannot be connected to.
pub fn fittings(
    args: &RunArgs,
    own: &[ImageDisk],
    shared: Vec<Shared>,
    agent: Port,
) -> Result<(Vec<Fitting>, Option<BalloonHandle>), Failure> {
    let mut fittings = Vec::new();
    for own in own {
        let backing = own.name().to_owned();
        let front = Blk::new(Box::new(own.open()?), queues(args.vcpus), backing.clone());
        fittings.push(Fitting { id: None, kind: DeviceKind::Disk, backing, plug: VirtioPci::plug(front) });
    }
    for spec in &args.disk {
        let backing = spec.source.path.display().to_string();
        fittings.push(Fitting { id: None, kind: DeviceKind::Disk, backing, plug: disk(spec, args.vcpus)? });
    }
    let networks = args.net.networks();
    for (number, spec) in networks.iter().enumerate() {
        let fitting = |plug| Fitting { id: None, kind: DeviceKind::Net, backing: spec.to_string(), plug };
        fittings.extend(network(args, number)?.map(fitting));
    }
    for Shared { id, backing, plug } in shared {
        fittings.push(Fitting { id, kind: DeviceKind::Other, backing, plug });
    }
    let other = |id, backing: &str, plug| Fitting {
        id: Some(id),
        kind: DeviceKind::Other,
        backing: backing.to_owned(),
        plug,
    };
    fittings.push(other("rng", "the host's random numbers", VirtioPci::plug(Rng::default())));
    fittings.push(other("agent", "the guest's agent", VirtioPci::plug(Console::new(vec![agent]))));
    let mut handle = None;
    if args.balloon {
        let (balloon, hand) = Balloon::new().map_err(super::cannot("make a balloon"))?;
        fittings.push(other("balloon", "the host's memory", VirtioPci::plug(balloon)));
        handle = Some(hand);
    }
    Ok((fittings, handle))
}

/// A disk for a machine with so many vCPUs.
///
/// # Errors
/// Where it cannot be opened.
pub fn disk(spec: &Spec, vcpus: u32) -> Result<Plug, Failure> {
    let disk = Disk::open(&spec.source, &spec.options())?;
    let name = format!("the disk {}", spec.source.path.display());
    Ok(VirtioPci::plug(Blk::new(Box::new(disk), queues(vcpus), name)))
}

/// A network interface for a machine with so many vCPUs; `None` if there is to be none.
///
/// # Errors
/// Where the network cannot be connected to.
pub fn interface(spec: &net::Spec, vcpus: u32) -> Result<Option<Plug>, Failure> {
    let front = |opened: Opened| Net::new(opened.net, queues(vcpus), format!("the network {spec}"));
    Ok(net::open(spec, &[], None)?.map(front).map(VirtioPci::plug))
}

/// One queue for each vCPU: none waits for another's lock in the guest.
fn queues(vcpus: u32) -> u16 {
    vcpus.clamp(1, 16) as u16
}

/// The network of this number; `None` if there is to be none.
fn network(args: &RunArgs, number: usize) -> Result<Option<Plug>, Failure> {
    let networks = args.net.networks();
    let spec = &networks[number];
    let ports = if number == args.net.publisher() { &args.net.publish[..] } else { &[] };
    let Some(Opened { net, published }) = net::open(spec, ports, args.net.capture_of(number).as_deref())?
    else {
        return Ok(None);
    };
    for (port, at) in ports.iter().zip(published) {
        if port.host.port() == 0 {
            message::say(format!("{at} leads to the guest's port {}", port.guest));
        }
    }
    Ok(Some(VirtioPci::plug(Net::new(net, queues(args.vcpus), format!("the network {spec}")))))
}
