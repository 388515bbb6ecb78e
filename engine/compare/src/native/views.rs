//! The child's memory for cases: the pages at their fixed addresses with their rights, and a second,
//! writable mapping of the same pages to lay a case out through.

#![allow(unsafe_code)] // mappings at fixed addresses

use std::ptr;

use base::PAGE_SIZE;

use crate::layout::{CODE, CODE_BYTES, CODE_FILL, DATA, EXIT, IMAGE_BYTES};

use super::stub;

/// The writable mapping: the image, then the code pages. And a copy of the code pages as laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Views {
    base: *mut u8,
    laid_out: *mut u8,
}

/// JMP [RIP+2], then the address, aligned because a case may come with alignment checks on.
const JUMP: [u8; 8] = [0xff, 0x25, 2, 0, 0, 0, 0, 0];

impl Views {
    /// Maps everything. To be called in the child, before its sandbox closes.
    pub fn map() -> Result<Self, libc::c_int> {
        let size = IMAGE_BYTES + CODE_BYTES;
        let page = PAGE_SIZE as usize;
        // SAFETY: a name without arguments that must live on.
        let fd = unsafe { libc::memfd_create(c"ringfence-compare".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: our own descriptor.
        if fd < 0 || unsafe { libc::ftruncate(fd, size as libc::off_t) } < 0 {
            return Err(errno());
        }
        let (read, write, execute) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
        let base = map(0, size, read | write, fd, 0)?.cast::<u8>();
        let laid_out = map(0, CODE_BYTES, read | write, -1, 0)?.cast::<u8>();
        // SAFETY: the code part of the mappings just made.
        unsafe {
            ptr::write_bytes(base.add(IMAGE_BYTES), CODE_FILL, CODE_BYTES);
            ptr::write_bytes(laid_out, CODE_FILL, CODE_BYTES);
        }
        for (n, data) in DATA.iter().enumerate() {
            let rights = if data.writable { read | write } else { read };
            map(data.at, page, rights, fd, n * page)?;
        }
        map(CODE, CODE_BYTES, read | write | execute, fd, IMAGE_BYTES)?;
        let exit = map(EXIT, page, read | write, -1, 0)?.cast::<u8>();
        // SAFETY: a page of our own; it loses its write right before anybody runs it.
        let sealed = unsafe {
            ptr::copy_nonoverlapping(JUMP.as_ptr(), exit, JUMP.len());
            exit.add(JUMP.len()).cast::<u64>().write(stub::leave as *const () as u64);
            libc::mprotect(exit.cast(), page, read | execute)
        };
        if sealed < 0 { Err(errno()) } else { Ok(Self { base, laid_out }) }
    }

    /// The image, writable.
    pub fn image(&self) -> *mut u8 {
        self.base
    }

    /// What the code pages held when the case began.
    pub fn laid_out(&self) -> *mut u8 {
        self.laid_out
    }

    /// The code pages, writable.
    pub fn code(&self) -> *mut u8 {
        // SAFETY: in bounds of the mapping.
        unsafe { self.base.add(IMAGE_BYTES) }
    }
}

fn map(at: u64, size: usize, rights: i32, fd: i32, offset: usize) -> Result<*mut libc::c_void, libc::c_int> {
    let place = if at == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let kind = if fd < 0 { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS } else { libc::MAP_SHARED };
    // SAFETY: a fresh mapping that replaces nothing.
    let mapped = unsafe {
        let flags = kind | place | libc::MAP_POPULATE;
        libc::mmap(at as *mut libc::c_void, size, rights, flags, fd, offset as libc::off_t)
    };
    if mapped == libc::MAP_FAILED {
        return Err(errno());
    }
    if at != 0 && mapped as u64 != at {
        return Err(libc::EEXIST); // a kernel that does not know MAP_FIXED_NOREPLACE
    }
    // Keeps the pages present, so that page faults say what is wrong; without the right to lock they
    // merely could be reclaimed.
    // SAFETY: the mapping just made.
    unsafe { libc::mlock(mapped, size) };
    Ok(mapped)
}

pub(super) fn errno() -> libc::c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}
