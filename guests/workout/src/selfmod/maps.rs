//! Code and the page tables: what may run, what runs after a page has been exchanged, and code with two
//! addresses.

#![allow(unsafe_code)] // a write that is to be refused

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::ProtFlags;
use nix::unistd::ftruncate;

use super::code::{constant, put, run_at, serialise};
use crate::Scale;
use crate::mmap::{Mapping, PAGE};
use crate::report::Report;
use crate::trap;

const WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
const RUN: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_EXEC);

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let rounds = 300 * scale.rounds;
    exchange(report, rounds)?;
    let file = File::from(memfd_create("workout", MFdFlags::MFD_CLOEXEC)?);
    ftruncate(&file, 2 * PAGE as i64)?;
    let (writable, runnable) =
        (Mapping::shared(file.as_fd(), 2, WRITE)?, Mapping::shared(file.as_fd(), 2, RUN)?);
    for (name, offset) in [("two addresses", 8), ("two addresses, across pages", PAGE - 2)] {
        let right = (0..rounds).all(|round| {
            put(&writable, offset, &constant(round));
            serialise();
            run_at(runnable.address() + offset) == Ok(u64::from(round))
        });
        report.check(name, right);
    }
    // Writing to the file is a third way to change the same page.
    let mut right = true;
    for round in 0..rounds {
        file.write_all_at(&constant(!round), 512)?;
        serialise();
        right &= run_at(runnable.address() + 512) == Ok(u64::from(!round));
    }
    report.check("written to the file", right);
    report.check("what may run may not be written", refused(runnable.address()));
    Ok(())
}

/// Whether a write is refused, as the page may be read and run only.
fn refused(address: usize) -> bool {
    // SAFETY: if it went through it would be to a page of ours with nothing in it that runs.
    unsafe { trap::write(address, 0) }.is_err_and(|trap| trap.code == 2 && trap.error == 7)
}

/// Either writable or runnable, never both; then gone; then another page at the same address.
fn exchange(report: &mut Report, rounds: u32) -> io::Result<()> {
    let page = Mapping::anonymous(1, WRITE)?;
    let address = page.address();
    let mut right = true;
    for round in 0..rounds {
        put(&page, 0, &constant(round));
        right &= run_at(address).is_err_and(|trap| trap.code == 2 && trap.address == address);
        page.protect(0, 1, RUN)?;
        right &= run_at(address) == Ok(u64::from(round));
        right &= refused(address);
        if round % 3 == 0 {
            page.unmap(0, 1)?;
            right &= run_at(address).is_err_and(|trap| trap.code == 1);
            page.overlay(0, 1, WRITE)?;
        } else if round % 3 == 1 {
            page.overlay(0, 1, WRITE)?;
            right &= trap::read(address) == Ok(0);
        } else {
            page.protect(0, 1, WRITE)?;
        }
    }
    report.check("writable or runnable", right);
    Ok(())
}
