//! All fronts, each with a back-end that does as little as possible.

use ringfence_virtio::{Blk, Device, Rng};

use crate::disk::RamDisk;

pub type Make = fn() -> Box<dyn Device>;

/// Each front by name.
pub const FRONTS: &[(&str, Make)] = &[
    ("blk", || Box::new(Blk::new(Box::new(RamDisk::new(64)), 2, "a disk"))),
    ("rng", || Box::new(Rng::default())),
];
