//! The targets, one a file.

mod agent;
mod board;
mod chips;
mod control;
mod cpio;
mod deb;
mod disks;
mod frames;
mod interpreter;
mod loaders;
mod share;
mod systems;
mod translator;
mod virtio;

pub use agent::TARGET as AGENT;
pub use board::TARGET as BOARD;
pub use chips::TARGET as CHIPS;
pub use control::TARGET as CONTROL;
pub use cpio::TARGET as CPIO;
pub use deb::TARGET as DEB;
pub use disks::TARGET as DISKS;
pub use frames::TARGET as FRAMES;
pub use interpreter::TARGET as INTERPRETER;
pub use loaders::TARGET as LOADERS;
pub use share::TARGET as SHARE;
pub use systems::TARGET as SYSTEMS;
pub use translator::TARGET as TRANSLATOR;
pub use virtio::TARGET as VIRTIO;

/// A function of bytes that must come back, whatever they are.
pub struct Target {
    /// As the command line calls it.
    pub name: &'static str,
    /// What is fed, in a few words.
    pub about: &'static str,
    /// The longest input that makes sense.
    pub longest: usize,
    /// The function.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[&Target] = &[
    &INTERPRETER,
    &TRANSLATOR,
    &LOADERS,
    &CPIO,
    &DEB,
    &DISKS,
    &SYSTEMS,
    &FRAMES,
    &AGENT,
    &CONTROL,
    &CHIPS,
    &BOARD,
    &VIRTIO,
    &SHARE,
];

/// The target of this name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
