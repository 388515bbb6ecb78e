//! What a hostile guest tries with the board's devices: the command line's word `hostile` runs this instead of the other
//! tests. The numbers in the names are those of the list of attacks that it follows.
//!
//! The kernel is a driver of every virtio device it finds, and breaks the rules of one after the other: with its rings,
//! its requests, its registers. A test passes if the machine is still there, and the device, once it was reset,
//! does its work: a disk keeps what it is given, an interface gets an answer to its question, random numbers come.
//! What the machine's process did meanwhile, its memory and its log, is for the host to judge.
//!
//! | file | holds |
//! |---|---|
//! | `mmio`, `pci` | accesses of every width; who is on the bus |
//! | `driver`, `ring` | a driver's half of a virtio device: the registers, the memory |
//! | `proof` | that a device works |
//! | the others | the attacks |
//!
//! A disk's content is overwritten. Nothing here waits for an interrupt: drivers poll.

mod chains;
mod driver;
mod memory;
mod mmio;
mod pci;
mod proof;
mod queues;
mod random;
mod requests;
mod ring;
mod storms;
mod tables;
mod widths;

use crate::harness::{Outcome, Test, wrong};
use driver::Driver;

/// All attacks, the gentlest first: what follows an attack must find the machine in order.
pub const FAMILIES: &[&[Test]] = &[
    proof::TESTS,
    chains::TESTS,
    memory::TESTS,
    queues::TESTS,
    tables::TESTS,
    requests::TESTS,
    storms::TESTS,
    widths::TESTS,
];

/// Attacks each virtio device on the bus. Before and after, all of them are at rest.
fn each(attack: fn(&Driver) -> Outcome) -> Outcome {
    let mut count = 0;
    for driver in pci::virtio() {
        driver.start()?;
        attack(&driver)?;
        driver.reset()?;
        count += 1;
    }
    if count == 0 {
        return Err(wrong(format_args!("there is no virtio device on the bus")));
    }
    Ok(())
}

/// Attacks each disk.
fn each_disk(attack: fn(&Driver) -> Outcome) -> Outcome {
    let mut count = 0;
    for driver in pci::virtio().filter(|driver| driver.kind == driver::BLOCK) {
        driver.start()?;
        attack(&driver)?;
        driver.reset()?;
        count += 1;
    }
    if count == 0 {
        return Err(wrong(format_args!("there is no disk on the bus")));
    }
    Ok(())
}
