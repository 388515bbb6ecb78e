//! All fronts, each with a back-end that does as little as possible.

use ringfence_virtio::back::Offloads;
use ringfence_virtio::{Balloon, Blk, Console, Device, Net, Port, Rng, Share, Vsock};

use crate::cable::Cable;
use crate::console::Pipe;
use crate::disk::RamDisk;
use crate::share::Mirror;
use crate::socket::Host;

pub type Make = fn() -> Box<dyn Device>;

/// Each front by name.
pub const FRONTS: &[(&str, Make)] = &[
    ("balloon", || Box::new(Balloon::new().unwrap().0)),
    ("blk", || Box::new(Blk::new(Box::new(RamDisk::new(64)), 2, "a disk"))),
    ("net", || Box::new(Net::new(Box::new(Cable::new(Offloads::all())), 2, "an interface"))),
    ("console", || {
        let channel = Port::channel(Box::new(Pipe::default()), "channel");
        Box::new(Console::new(vec![Port::terminal(Box::new(Pipe::default())), channel]))
    }),
    ("rng", || Box::new(Rng::default())),
    ("share", || Box::new(Share::new(Box::new(Mirror::default()), 2, "a share"))),
    ("vsock", || Box::new(Vsock::new(Box::new(Host::default()), 3, "sockets"))),
];
