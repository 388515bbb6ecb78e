//! One operation on a file, as the kernel knows it.

#![allow(unsafe_code)] // system calls on a caller's memory; `Engine::start` has the contract

use std::os::fd::RawFd;

use super::Outcome;

/// The most memory ranges that one system call takes: Linux's `IOV_MAX`.
pub const MOST_RANGES: usize = 1024;

/// Memory ranges of an operation.
#[derive(Debug)]
pub struct Iovecs(pub(super) Vec<libc::iovec>);

// SAFETY: pointers to memory that outlives the operation, whichever thread does it (`Engine::start`).
unsafe impl Send for Iovecs {}

impl Iovecs {
    /// The first ranges of these, as many as one operation takes.
    pub fn first_of(ranges: &[libc::iovec]) -> Self {
        Self(ranges[..ranges.len().min(MOST_RANGES)].to_vec())
    }

    /// Bytes in all of them.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|range| range.iov_len).fold(0, usize::saturating_add)
    }
}

/// An operation on the file of a descriptor. Offsets and lengths are in bytes.
#[derive(Debug)]
pub enum Op {
    /// Reads from an offset.
    Read(RawFd, u64, Iovecs),
    /// Writes to an offset.
    Write(RawFd, u64, Iovecs),
    /// Makes data, and the metadata that reading it needs, durable.
    Sync(RawFd),
    /// `fallocate(2)`: mode, offset, length.
    Allocate(RawFd, libc::c_int, u64, u64),
}

impl Op {
    /// Does it, on this thread.
    ///
    /// # Safety
    /// The descriptor is open, the memory valid.
    pub(super) unsafe fn perform(&self) -> Outcome {
        loop {
            // SAFETY: the caller's promise; `MOST_RANGES` fits an int, and the kernel checks offsets.
            let result = unsafe {
                match self {
                    Self::Read(fd, at, iovecs) => {
                        libc::preadv(*fd, iovecs.0.as_ptr(), iovecs.0.len() as i32, *at as i64)
                    }
                    Self::Write(fd, at, iovecs) => {
                        libc::pwritev(*fd, iovecs.0.as_ptr(), iovecs.0.len() as i32, *at as i64)
                    }
                    Self::Sync(fd) => libc::fdatasync(*fd) as isize,
                    Self::Allocate(fd, mode, at, len) => {
                        libc::fallocate(*fd, *mode, *at as i64, *len as i64) as isize
                    }
                }
            };
            if result >= 0 {
                // One system call moves less than 2³¹ bytes.
                return result as Outcome;
            }
            let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            if error != libc::EINTR {
                return -error;
            }
        }
    }
}
