//! The targets, one a file.

mod agent;
mod board;
mod chips;
mod cpio;
mod deb;
mod interpreter;
mod loaders;
mod translator;

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
pub const TARGETS: &[Target] = &[
    interpreter::TARGET,
    translator::TARGET,
    loaders::TARGET,
    cpio::TARGET,
    deb::TARGET,
    agent::TARGET,
    chips::TARGET,
    board::TARGET,
];

/// The target of this name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
