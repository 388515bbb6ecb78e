//! Host mappings.

#![allow(unsafe_code)] // mmap and its kin; each mapping is owned by one value

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};

/// A range of host address space that is ours until dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: a mapping belongs to its value, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Reserves address space; nothing in it can be touched.
    pub fn reserve(len: usize) -> io::Result<Self> {
        Self::map(len, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1)
    }

    /// Maps a file from its start, readable and writable.
    pub fn shared(file: &File, len: usize) -> io::Result<Self> {
        Self::map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd())
    }

    /// Zeroed memory that can have a twin; readable and writable.
    pub fn with_twin(len: usize) -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        Self::map(len, libc::PROT_READ | libc::PROT_WRITE, flags, -1)
    }

    fn map(len: usize, protection: i32, flags: i32, file: i32) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, file, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), len })
    }

    /// A second view of the same memory, readable and executable.
    pub fn twin(&self) -> io::Result<Self> {
        // SAFETY: an old size of zero leaves a shared mapping as it is and maps its pages once more (mremap(2)).
        let start = unsafe { libc::mremap(self.start.cast(), 0, self.len, libc::MREMAP_MAYMOVE) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let twin = Self { start: start.cast(), len: self.len };
        // SAFETY: the mapping just made.
        if unsafe { libc::mprotect(start, self.len, libc::PROT_READ | libc::PROT_EXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(twin)
    }

    /// Maps a file over a part of this mapping, readable and writable.
    pub fn overlay(&self, offset: usize, file: &File, len: usize) -> io::Result<()> {
        assert!(offset + len <= self.len);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: replaces a part of our own mapping, which nobody has a reference into.
        let at =
            unsafe { libc::mmap(self.start.add(offset).cast(), len, protection, flags, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Makes a part readable and writable.
    pub fn open(&self, offset: usize, len: usize) -> io::Result<()> {
        assert!(offset + len <= self.len);
        // SAFETY: a part of our own mapping.
        let result =
            unsafe { libc::mprotect(self.start.add(offset).cast(), len, libc::PROT_READ | libc::PROT_WRITE) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes a part untouchable again and gives its memory back.
    pub fn close(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: replaces a part of our own mapping, which nobody has a reference into.
        unsafe { libc::mmap(self.start.add(offset).cast(), len, libc::PROT_NONE, flags, -1, 0) };
    }

    /// Gives the memory behind a part of private memory back, if it consists of whole pages; it reads as zeros then.
    pub fn zero(&self, offset: usize, len: usize) {
        assert!(offset + len <= self.len);
        // SAFETY: a part of our own mapping, which nobody has a reference into.
        let given = unsafe { libc::madvise(self.start.add(offset).cast(), len, libc::MADV_DONTNEED) };
        // Locked memory, or no whole pages: it must read as zeros all the same.
        if given != 0 {
            // SAFETY: as above; the part is open.
            unsafe { std::ptr::write_bytes(self.start.add(offset), 0, len) };
        }
    }

    /// Gives the memory behind whole pages of a shared file back; they read as zeros then.
    pub fn give_back(&self, from: usize, to: usize) {
        assert!(from.is_multiple_of(base::PAGE_SIZE as usize) && to <= self.len);
        if from < to {
            // SAFETY: a part of our own mapping, which nobody has a reference into. A kernel that refuses keeps the memory.
            unsafe { libc::madvise(self.start.add(from).cast(), to - from, libc::MADV_REMOVE) };
        }
    }

    /// The first byte.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// The mapping as a value of `T` at its start; it must be readable, writable and large enough.
    pub fn as_mut<T>(&mut self) -> &mut T {
        assert!(size_of::<T>() <= self.len);
        // SAFETY: page-aligned, large enough, and exclusively borrowed through `self`.
        unsafe { &mut *self.start.cast::<T>() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// A file without a name, of `len` zero bytes.
pub(crate) fn anonymous_file(name: &CStr, len: usize) -> io::Result<File> {
    // SAFETY: `name` is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len as u64)?;
    Ok(file)
}
