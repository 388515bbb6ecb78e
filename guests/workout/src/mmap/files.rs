//! Files in memory: shared and private views of the same pages, and what read and write see of them.

#![allow(unsafe_code)] // what is in the mappings

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::ProtFlags;

use super::{Mapping, PAGE};
use crate::child::{self, End};
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report) -> io::Result<()> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let file = File::from(memfd_create("workout", MFdFlags::MFD_CLOEXEC)?);
    let content = Generator::new(21).bytes(8 * PAGE);
    file.write_all_at(&content, 0)?;
    let shared = Mapping::shared(file.as_fd(), 8, access)?;
    let also = Mapping::shared(file.as_fd(), 8, access)?;
    let private = Mapping::private(file.as_fd(), 8, access)?;
    // SAFETY: mapped for reading and writing; who else has the pages writes only where this says so. So
    // below.
    let bytes = |mapping: &Mapping| Digest::of(unsafe { mapping.slice(0, 8) }).to_string();
    report.value("file", bytes(&shared));
    report.check("all views alike", bytes(&shared) == bytes(&also) && bytes(&shared) == bytes(&private));

    // SAFETY: as above.
    unsafe { shared.slice(1, 1) }.fill(0x11);
    let mut read = vec![0; 8 * PAGE];
    file.read_exact_at(&mut read, 0)?;
    report.check(
        "written in memory, read from the file",
        read[PAGE..2 * PAGE].iter().all(|byte| *byte == 0x11),
    );
    // SAFETY: as above.
    unsafe { private.slice(2, 1) }.fill(0x22);
    file.write_all_at(&[0x33; PAGE], (2 * PAGE) as u64)?;
    file.write_all_at(&[0x44; PAGE], (3 * PAGE) as u64)?;
    // SAFETY: as above.
    let firsts =
        |mapping: &Mapping| (0..4).map(|page| unsafe { mapping.slice(page, 1) }[100]).collect::<Vec<u8>>();
    let (a, b) = (content[100], content[100]);
    report.check("shared view", firsts(&also) == [a, 0x11, 0x33, 0x44]);
    // A page that was never written privately still follows the file.
    report.check("private view", firsts(&private) == [b, 0x11, 0x22, 0x44]);

    let child = child::run(|| {
        // SAFETY: as above.
        let page = unsafe { shared.slice(5, 1) };
        page.fill(0x55);
        // SAFETY: as above.
        unsafe { private.slice(6, 1) }.fill(0x66);
        0
    })?;
    report.expect("a child that writes", child, End::Code(0));
    // SAFETY: as above.
    let seen = unsafe {
        (also.slice(5, 1)[7], private.slice(5, 1)[7], private.slice(6, 1)[7] == content[6 * PAGE + 7])
    };
    report.expect("what is seen of it", seen, (0x55, 0x55, true));

    let layers = Mapping::anonymous(8, access)?;
    layers.overlay_file(2, file.as_fd(), 4, 4)?;
    layers.overlay(3, 1, access)?;
    layers.overlay_file(5, file.as_fd(), 1, 1)?;
    let mut digest = Digest::new();
    for page in 0..8 {
        for at in (0..PAGE).step_by(8) {
            digest.number(crate::trap::read(layers.address() + page * PAGE + at).unwrap_or(u64::MAX));
        }
    }
    report.value("layers", digest);
    Ok(())
}
