//! Pages mapped, touched for the first time, and unmapped.

use std::io;
use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::workload::Round;

const PAGE: usize = 4096;
const PAGES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
const TIMES: u64 = 2;

pub fn start() -> io::Result<Round> {
    let length = PAGES.saturating_mul(NonZeroUsize::new(PAGE).unwrap());
    Ok(Box::new(move || {
        let mut sum = 0;
        for _ in 0..TIMES {
            // SAFETY: a new mapping at a place of the kernel's choice; all of it is ours, writable, and zero.
            unsafe {
                let start = mmap_anonymous(
                    None,
                    length,
                    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                    MapFlags::MAP_PRIVATE,
                )?;
                // One fault a page, whatever the kernel thinks of large ones; a kernel without these says EINVAL.
                let _ = madvise(start, length.get(), MmapAdvise::MADV_NOHUGEPAGE);
                let bytes = start.as_ptr().cast::<u8>();
                for page in 0..PAGES.get() {
                    let byte = bytes.add(page * PAGE + page);
                    byte.write_volatile(byte.read_volatile() + page as u8);
                    sum += u64::from(byte.read_volatile());
                }
                munmap(start, length.get())?;
            }
        }
        Ok(sum)
    }))
}
