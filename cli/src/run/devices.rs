//! The devices on the machine's PCI bus: each front with what stands behind it.

use backend::block::{Disk, Spec};
use backend::net::{self, Opened};
use machine::pci::Plug;
use virtio::{Blk, Net, Rng, VirtioPci};

use super::image_disk::ImageDisk;
use super::sharing;
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::message;

/// All devices, in the order of their places on the bus: the image's own disk, disks and networks as the command line has
/// them, then the others.
///
/// # Errors
/// A disk that cannot be opened, a network that cannot be connected to.
pub fn plugs(args: &RunArgs, own: Option<&ImageDisk>) -> Result<Vec<Plug>, Failure> {
    let mut plugs = Vec::new();
    if let Some(own) = own {
        let disk = own.open()?;
        plugs.push(VirtioPci::plug(Blk::new(
            Box::new(disk),
            queues(args.vcpus),
            "the image's disk".to_owned(),
        )));
    }
    for disk in &args.disk {
        plugs.push(plug_disk(disk, args.vcpus)?);
    }
    for number in 0..args.net.networks().len() {
        plugs.extend(plug_network(args, number)?);
    }
    plugs.extend(sharing::devices(&args.sharing)?.into_iter().map(|shared| shared.plug));
    plugs.push(VirtioPci::plug(Rng::default()));
    Ok(plugs)
}

fn plug_disk(spec: &Spec, vcpus: u32) -> Result<Plug, Failure> {
    let disk = Disk::open(&spec.source, &spec.options())?;
    Ok(VirtioPci::plug(Blk::new(
        Box::new(disk),
        queues(vcpus),
        format!("the disk {}", spec.source.path.display()),
    )))
}

/// One queue for each vCPU: none waits for another's lock in the guest.
fn queues(vcpus: u32) -> u16 {
    vcpus.clamp(1, 16) as u16
}

/// The network of this number; `None` if there is to be none.
fn plug_network(args: &RunArgs, number: usize) -> Result<Option<Plug>, Failure> {
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
