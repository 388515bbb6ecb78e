//! The devices on the machine's PCI bus: each front with what stands behind it.

use backend::block::{Disk, Spec};
use machine::pci::Plug;
use virtio::{Blk, Rng, VirtioPci};

use crate::args::RunArgs;
use crate::failure::Failure;

/// All devices, in the order of their places on the bus: disks as the command line has them, then the others.
///
/// # Errors
/// A disk that cannot be opened.
pub fn plugs(args: &RunArgs) -> Result<Vec<Plug>, Failure> {
    let mut plugs = Vec::new();
    for disk in &args.disk {
        plugs.push(plug_disk(disk, args.vcpus)?);
    }
    plugs.push(VirtioPci::plug(Rng::default()));
    Ok(plugs)
}

fn plug_disk(spec: &Spec, vcpus: u32) -> Result<Plug, Failure> {
    let disk = Disk::open(&spec.source, &spec.options())?;
    // One queue for each vCPU: none waits for another's lock in the guest.
    let queues = vcpus.clamp(1, 16) as u16;
    Ok(VirtioPci::plug(Blk::new(Box::new(disk), queues, format!("the disk {}", spec.source.path.display()))))
}
