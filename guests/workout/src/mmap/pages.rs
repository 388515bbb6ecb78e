//! Anonymous memory: zeros, holes, overlays, moves, and a gigabyte of which little is used.

#![allow(unsafe_code)] // what is in the mappings

use std::io;

use nix::libc;
use nix::sys::mman::ProtFlags;
use nix::sys::resource::{UsageWho, getrusage};

use super::{Mapping, PAGE};
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;
use crate::trap;

pub fn run(report: &mut Report) -> io::Result<()> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let pages = Mapping::anonymous(16, access)?;
    // SAFETY: mapped for reading and writing, and ours alone. So are all others below.
    let bytes = unsafe { pages.slice(0, 16) };
    report.check("new pages are zero", bytes.iter().all(|byte| *byte == 0));
    Generator::new(5).fill(bytes);
    let written = Digest::of(bytes).to_string();
    report.value("written", &written);
    pages.overlay(3, 2, access)?;
    // SAFETY: as above.
    report.check("an overlay is zero", unsafe { pages.slice(3, 2) }.iter().all(|byte| *byte == 0));
    pages.advise(libc::MADV_DONTNEED)?;
    // SAFETY: as above.
    report.check("what is not needed is zero", unsafe { pages.slice(0, 16) }.iter().all(|byte| *byte == 0));

    let mut moving = Mapping::anonymous(4, access)?;
    // SAFETY: as above.
    Generator::new(6).fill(unsafe { moving.slice(0, 4) });
    // SAFETY: as above.
    let before = Digest::of(unsafe { moving.slice(0, 4) }).to_string();
    let old = moving.address();
    // Something in the way, so that it has to move.
    let _wall = Mapping::anonymous(1, access)?;
    moving.resize(1024)?;
    // SAFETY: as above.
    report.check("moved and kept", before == Digest::of(unsafe { moving.slice(0, 4) }).to_string());
    // SAFETY: as above.
    report.check("grown by zeros", unsafe { moving.slice(4, 1020) }.iter().all(|byte| *byte == 0));
    report.check("gone from where it was", moving.address() == old || trap::read(old).is_err());

    sparse(report)?;
    faults(report, access)
}

/// Every 512th page of a gigabyte, one page table after the other.
fn sparse(report: &mut Report) -> io::Result<()> {
    const PAGES: usize = (1 << 30) / PAGE;
    let large = Mapping::sparse(PAGES)?;
    large.advise(libc::MADV_NOHUGEPAGE)?;
    for page in (0..PAGES).step_by(512) {
        // SAFETY: inside of the mapping.
        if unsafe { trap::write(large.address() + page * PAGE + 8, page as u64) }.is_err() {
            report.check("a page of a gigabyte", false);
        }
    }
    let mut digest = Digest::new();
    for page in (0..PAGES).step_by(512) {
        for at in [0, 8, PAGE, PAGE + 8] {
            digest.number(trap::read(large.address() + page * PAGE + at).unwrap_or(u64::MAX));
        }
    }
    report.value("sparse gigabyte", digest);
    Ok(())
}

/// One fault a page at the first touch, none at the second.
fn faults(report: &mut Report, access: ProtFlags) -> io::Result<()> {
    const PAGES: usize = 300;
    let pages = Mapping::anonymous(PAGES, access)?;
    pages.advise(libc::MADV_NOHUGEPAGE)?;
    let count = || getrusage(UsageWho::RUSAGE_SELF).map(|usage| usage.minor_page_faults());
    let touch = || {
        for page in 0..PAGES {
            // SAFETY: inside of the mapping.
            let _ = unsafe { trap::write(pages.address() + page * PAGE, 1) };
        }
    };
    let start = count()?;
    touch();
    let first = count()? - start;
    touch();
    let second = count()? - start - first;
    // The kernel may have counted a few of its own making.
    report.check("a fault for each page touched", (300..330).contains(&first) && second < 30);
    Ok(())
}
