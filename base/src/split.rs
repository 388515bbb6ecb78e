//! Locked accesses that lie in two pages of RAM which are no neighbours there.
//!
//! The CPU does such an access in one piece wherever its two pages are; so do other vCPUs whose code runs natively. To be
//! atomic towards those, too, both pages are mapped once more, one behind the other, and the access is done there.

#![allow(unsafe_code)] // a mapping of two pages, and accesses to it

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

use crate::address::PAGE_SIZE;
use crate::scalar::Scalar;

/// Two pages of RAM side by side, and which they are.
#[derive(Debug, Default)]
pub(crate) struct Split(Mutex<Option<Pair>>);

#[derive(Debug)]
struct Pair {
    start: usize,
    pages: Option<[usize; 2]>,
}

impl Split {
    /// Replaces the value that begins in the first page, `offset` bytes from its start, and ends in the second by `change` of
    /// it. `change` may be called several times. Gives the value before and after.
    ///
    /// # Errors
    /// When the host does not map the pages.
    ///
    /// # Panics
    /// If the value does not fit into two pages.
    pub fn modify<T: Scalar>(
        &self,
        file: &File,
        pages: [usize; 2],
        offset: u64,
        change: impl Fn(T) -> T,
    ) -> io::Result<(T, T)> {
        assert!(offset + T::SIZE <= 2 * PAGE_SIZE);
        let mut pair = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = match &mut *pair {
            Some(pair) => pair,
            none => none.insert(Pair::new()?),
        };
        pair.join(file, pages)?;
        let at = (pair.start + offset as usize) as *mut u8;
        // SAFETY: in bounds of the pair, which nobody changes while we have the lock.
        let mut old = unsafe { T::load(at) };
        loop {
            let new = change(old);
            // SAFETY: as above.
            let found = unsafe { T::compare_exchange(at, old, new) };
            if found == old {
                return Ok((old, new));
            }
            old = found;
        }
    }
}

impl Pair {
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), 2 * PAGE_SIZE as usize, libc::PROT_NONE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start as usize, pages: None })
    }

    /// Maps these pages of the file.
    fn join(&mut self, file: &File, pages: [usize; 2]) -> io::Result<()> {
        if self.pages == Some(pages) {
            return Ok(());
        }
        self.pages = None;
        for (n, page) in pages.into_iter().enumerate() {
            let at = (self.start + n * PAGE_SIZE as usize) as *mut libc::c_void;
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
            let from = (page as u64 * PAGE_SIZE) as i64;
            // SAFETY: replaces a page of our own mapping, which nobody has a reference into.
            let got =
                unsafe { libc::mmap(at, PAGE_SIZE as usize, protection, flags, file.as_raw_fd(), from) };
            if got == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        self.pages = Some(pages);
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: our own mapping.
        unsafe { libc::munmap(self.start as *mut libc::c_void, 2 * PAGE_SIZE as usize) };
    }
}
