//! Memory: what is mapped, what it holds, who else sees it, and who may touch it.

#![allow(unsafe_code)] // mapping memory

mod copies;
mod files;
mod model;
mod pages;

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::libc::{self, c_void};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

use crate::report::Report;
use crate::{Scale, trap};

/// A page, the unit of all this.
pub const PAGE: usize = 4096;

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    trap::install()?;
    pages::run(report)?;
    files::run(report)?;
    copies::run(report, scale)?;
    model::run(report, scale)
}

/// Some pages of our own. What is done to them through the address is the user's business.
pub struct Mapping {
    start: NonNull<c_void>,
    pages: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// So many pages of zeros.
    ///
    /// # Errors
    /// That of mmap.
    pub fn anonymous(pages: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: the kernel chooses a place where nothing is.
        let start = unsafe { mmap_anonymous(None, bytes(pages)?, access, MapFlags::MAP_PRIVATE) }?;
        Ok(Self { start, pages })
    }

    /// As [`anonymous`](Self::anonymous), to read and write, and more of them than there may be memory for.
    ///
    /// # Errors
    /// That of mmap.
    pub fn sparse(pages: usize) -> io::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: as in anonymous().
        let start = unsafe { mmap_anonymous(None, bytes(pages)?, access, flags) }?;
        Ok(Self { start, pages })
    }

    /// As [`anonymous`](Self::anonymous), shared with children.
    ///
    /// # Errors
    /// That of mmap.
    pub fn anonymous_shared(pages: usize) -> io::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: as in anonymous().
        let start = unsafe { mmap_anonymous(None, bytes(pages)?, access, MapFlags::MAP_SHARED) }?;
        Ok(Self { start, pages })
    }

    /// The start of a file, shared with all who have it.
    ///
    /// # Errors
    /// That of mmap.
    pub fn shared(file: BorrowedFd<'_>, pages: usize, access: ProtFlags) -> io::Result<Self> {
        Self::file(file, pages, access, MapFlags::MAP_SHARED)
    }

    /// The start of a file, of which what is written stays ours.
    ///
    /// # Errors
    /// That of mmap.
    pub fn private(file: BorrowedFd<'_>, pages: usize, access: ProtFlags) -> io::Result<Self> {
        Self::file(file, pages, access, MapFlags::MAP_PRIVATE)
    }

    fn file(file: BorrowedFd<'_>, pages: usize, access: ProtFlags, flags: MapFlags) -> io::Result<Self> {
        // SAFETY: as in anonymous().
        let start = unsafe { mmap(None, bytes(pages)?, access, flags, file, 0) }?;
        Ok(Self { start, pages })
    }

    /// The address of its first byte.
    pub fn address(&self) -> usize {
        self.start.as_ptr() as usize
    }

    /// Changes the access to some of the pages.
    ///
    /// # Errors
    /// That of mprotect.
    pub fn protect(&self, first: usize, pages: usize, access: ProtFlags) -> io::Result<()> {
        // SAFETY: the pages are ours, and our users expect it.
        Ok(unsafe { mprotect(self.page(first), pages * PAGE, access) }?)
    }

    /// Leaves a hole.
    ///
    /// # Errors
    /// That of munmap.
    pub fn unmap(&self, first: usize, pages: usize) -> io::Result<()> {
        // SAFETY: as in protect().
        Ok(unsafe { munmap(self.page(first), pages * PAGE) }?)
    }

    /// Puts fresh pages in place of some.
    ///
    /// # Errors
    /// That of mmap.
    pub fn overlay(&self, first: usize, pages: usize, access: ProtFlags) -> io::Result<()> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: the place is ours, and our users expect it.
        unsafe { mmap_anonymous(Some(self.place(first)?), bytes(pages)?, access, flags) }?;
        Ok(())
    }

    /// Puts pages of a file in place of some.
    ///
    /// # Errors
    /// That of mmap.
    pub fn overlay_file(
        &self,
        first: usize,
        file: BorrowedFd<'_>,
        from: usize,
        pages: usize,
    ) -> io::Result<()> {
        let (access, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED);
        // SAFETY: as in overlay().
        unsafe { mmap(Some(self.place(first)?), bytes(pages)?, access, flags, file, (from * PAGE) as i64) }?;
        Ok(())
    }

    /// Gives the kernel advice on all of it.
    ///
    /// # Errors
    /// That of madvise.
    pub fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the pages are ours; advice that changes what they hold is what our users expect.
        if unsafe { libc::madvise(self.start.as_ptr(), self.pages * PAGE, advice) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Moves it to where there is room for so many pages.
    ///
    /// # Errors
    /// That of mremap.
    pub fn resize(&mut self, pages: usize) -> io::Result<()> {
        let (old, new) = (self.pages * PAGE, pages * PAGE);
        // SAFETY: the pages are ours, and nothing refers to them.
        let moved = unsafe { libc::mremap(self.start.as_ptr(), old, new, libc::MREMAP_MAYMOVE) };
        if moved == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.start = NonNull::new(moved).ok_or_else(|| io::Error::other("mremap gave the null page"))?;
        self.pages = pages;
        Ok(())
    }

    /// The bytes of some of its pages.
    ///
    /// # Safety
    /// They are mapped for reading and writing, and nobody else writes meanwhile.
    #[expect(clippy::mut_from_ref)] // to two disjoint parts there may be two
    pub unsafe fn slice(&self, first: usize, pages: usize) -> &mut [u8] {
        assert!(first + pages <= self.pages, "pages {first} to {} are outside of the mapping", first + pages);
        // SAFETY: the pages lie in the mapping, and the caller promises the rest.
        unsafe { std::slice::from_raw_parts_mut(self.page(first).as_ptr().cast::<u8>(), pages * PAGE) }
    }

    fn page(&self, index: usize) -> NonNull<c_void> {
        assert!(index <= self.pages, "page {index} is outside of the mapping");
        // SAFETY: stays in the mapping or just behind it.
        unsafe { self.start.byte_add(index * PAGE) }
    }

    fn place(&self, index: usize) -> io::Result<NonZeroUsize> {
        NonZeroUsize::new(self.page(index).as_ptr() as usize)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Holes do no harm. It cannot fail on a range that was mapped.
        let _ = self.unmap(0, self.pages);
    }
}

fn bytes(pages: usize) -> io::Result<NonZeroUsize> {
    NonZeroUsize::new(pages * PAGE).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
