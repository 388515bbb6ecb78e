//! Directories and sockets that guest and host share.

use std::collections::BTreeSet;

use backend::share::Share;
use backend::vsock::{SocketFile, Unix};
use machine::pci::Plug;
use virtio::VirtioPci;

use crate::args::SharingArgs;
use crate::failure::Failure;

/// A device, and what stands behind it.
pub struct Shared {
    /// What it is called for as long as the machine runs; directories are numbered, and may be taken away.
    pub id: Option<&'static str>,
    /// The directory or socket.
    pub backing: String,
    /// The device.
    pub plug: Plug,
}

/// The devices, directories as the command line has them and then the sockets; and the file of these, to be kept as
/// long as the run.
///
/// # Errors
/// What cannot be shared.
pub fn open(args: &SharingArgs) -> Result<(Vec<Shared>, Option<SocketFile>), Failure> {
    let mut tags = BTreeSet::new();
    let mut devices = Vec::new();
    for spec in &args.share {
        if !tags.insert(&spec.tag) {
            let text = format!("two directories are shared as `{}`", spec.tag);
            return Err(Failure::usage(text).hint("give each a name of its own: --share DIR:TAG"));
        }
        let front = virtio::Share::new(Box::new(Share::open(spec)?), 1, format!("the share {}", spec.tag));
        let backing = spec.path.display().to_string();
        devices.push(Shared { id: None, backing, plug: VirtioPci::plug(front) });
    }
    let mut file = None;
    if let Some(spec) = &args.vsock {
        let backing = spec.path.display().to_string();
        let sockets = Unix::new(&spec.path)?;
        file = Some(sockets.file());
        let front = virtio::Vsock::new(Box::new(sockets), spec.cid, format!("the sockets at {backing}"));
        devices.push(Shared { id: Some("vsock"), backing, plug: VirtioPci::plug(front) });
    }
    Ok((devices, file))
}
