//! Copy on write: after a fork two processes have the same pages, until one of them writes.

#![allow(unsafe_code)] // what is in the mappings

use std::io;

use nix::sys::mman::ProtFlags;

use super::{Mapping, PAGE};
use crate::Scale;
use crate::child::{self, End};
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

const PAGES: usize = 256;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let ours = Mapping::anonymous(PAGES, access)?;
    let message = Mapping::anonymous_shared(1)?;
    // SAFETY: mapped for reading and writing; of the shared page the parent reads only after the child has
    // ended.
    let (bytes, note) = unsafe { (ours.slice(0, PAGES), message.slice(0, 1)) };
    Generator::new(31).fill(bytes);
    for round in 0..scale.rounds {
        let before = Digest::of(bytes).to_string();
        let child = child::start(|| {
            // Its copy is what the parent had, whatever the parent does now.
            let same = Digest::of(bytes).to_string() == before;
            change(bytes, 3, round as u8);
            note[..32].copy_from_slice(Digest::of(bytes).to_string().as_bytes());
            i32::from(!same)
        })?;
        change(bytes, 5, !round as u8);
        report.expect("the child's copy was the parent's", child::wait(child)?, End::Code(0));
        report.value("the child's pages", String::from_utf8_lossy(&note[..32]));
        report.value("the parent's pages", Digest::of(bytes));
    }
    generations(report)
}

/// Writes to every so-many-th page.
fn change(bytes: &mut [u8], step: usize, value: u8) {
    for page in bytes.chunks_mut(PAGE).step_by(step) {
        page[value as usize] = page[value as usize].wrapping_add(value | 1);
    }
}

/// A chain of processes, each of which changes a page and has the others from its ancestors.
fn generations(report: &mut Report) -> io::Result<()> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let pages = Mapping::anonymous(16, access)?;
    // SAFETY: mapped for reading and writing, and each process has its own.
    let bytes = unsafe { pages.slice(0, 16) };
    let end = child::run(|| descend(bytes, 0))?;
    report.expect("generations", end, End::Code(16));
    report.check("the first has none of it", bytes.iter().all(|byte| *byte == 0));
    Ok(())
}

/// How many generations found what they should.
fn descend(bytes: &mut [u8], generation: usize) -> i32 {
    let inherited = bytes.chunks(PAGE).enumerate().all(|(page, bytes)| {
        let right = if page < generation { page as u8 + 1 } else { 0 };
        bytes.iter().all(|byte| *byte == right)
    });
    if !inherited || generation == 16 {
        return 0;
    }
    bytes[generation * PAGE..][..PAGE].fill(generation as u8 + 1);
    match child::run(|| descend(bytes, generation + 1)) {
        Ok(End::Code(found)) => found + 1,
        _ => 0,
    }
}
