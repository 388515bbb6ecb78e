//! Memory for stubs, and the one place that calls them.
//!
//! The same pages are mapped twice: one view can be written, the other executed, neither both. Code is
//! written once, before its [`Entry`] exists, and never changes or moves afterwards, so a caller needs no
//! lock. Each stub starts on a cache line of its own: no CPU can have fetched bytes of it before.

#![allow(unsafe_code)] // maps executable memory and calls code made at run time

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::simd::code::Code;

/// Why there is no memory for stubs.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ArenaError {
    /// The host's kernel refused.
    #[error(
        "the host refused executable memory for SIMD instructions ({0}): check its SELinux or seccomp rules"
    )]
    Host(#[from] nix::Error),
    /// All is used up.
    #[error("no room is left for SIMD stubs")]
    Full,
}

/// A cache line: where stubs start.
pub(crate) const LINE: usize = 64;

/// Two views of the same pages.
#[derive(Debug)]
pub(crate) struct Arena {
    writable: NonNull<u8>,
    executable: NonNull<u8>,
    size: NonZeroUsize,
    used: usize,
}

// SAFETY: the mappings belong to the arena alone; nothing about them is tied to a thread.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena of `size` bytes; pages are allocated as they are used.
    pub fn new(size: NonZeroUsize) -> Result<Self, ArenaError> {
        let file = memfd_create(c"ringfence-stubs", MFdFlags::MFD_CLOEXEC)?;
        nix::unistd::ftruncate(&file, size.get() as i64)?;
        let writable = map(&file, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let executable = map(&file, size, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC).inspect_err(|_| {
            // SAFETY: mapped just now and not handed out.
            let _ = unsafe { munmap(writable.cast(), size.get()) };
        })?;
        Ok(Self { writable, executable, size, used: 0 })
    }

    /// Puts code where it can be called.
    pub fn publish<F>(&mut self, code: &Code<F>) -> Result<Entry<F>, ArenaError> {
        let bytes = code.bytes();
        let end = self.used + bytes.len().next_multiple_of(LINE);
        if end > self.size.get() {
            return Err(ArenaError::Full);
        }
        // SAFETY: `used..end` lies in both mappings and nothing has been handed out there yet.
        let at = unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.writable.add(self.used).as_ptr(), bytes.len());
            self.executable.add(self.used)
        };
        self.used = end;
        Ok(Entry { at, frame: PhantomData })
    }
}

fn map(file: &OwnedFd, size: NonZeroUsize, protection: ProtFlags) -> Result<NonNull<u8>, nix::Error> {
    // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
    unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, file, 0) }.map(NonNull::cast)
}

#[cfg(test)]
impl Arena {
    /// Gives the memory back together with the one entry that was published.
    pub fn release<F>(mut self, _: Entry<F>) {
        self.used = 0;
    }
}

impl Drop for Arena {
    /// Never happens to an arena that has handed out an [`Entry`]: those live in statics.
    fn drop(&mut self) {
        if self.used != 0 {
            return;
        }
        // SAFETY: both were mapped by `new` with this size, and no entry points into them.
        unsafe {
            let _ = munmap(self.writable.cast(), self.size.get());
            let _ = munmap(self.executable.cast(), self.size.get());
        }
    }
}

/// A published stub that works on a frame of type `F`.
#[derive(Debug)]
pub(crate) struct Entry<F> {
    at: NonNull<u8>,
    frame: PhantomData<fn(&mut F)>,
}

// SAFETY: the code is never written again and keeps no state of its own.
unsafe impl<F> Send for Entry<F> {}
// SAFETY: likewise.
unsafe impl<F> Sync for Entry<F> {}

impl<F> Entry<F> {
    /// Runs the stub.
    #[inline(always)]
    pub fn call(&self, frame: &mut F) {
        // SAFETY: `at` is the start of a `Code<F>`, which by its contract is a function of this type that
        // touches nothing but the frame, its own stack and registers that the convention lets it change.
        unsafe {
            let stub: extern "sysv64" fn(*mut F) = std::mem::transmute(self.at.as_ptr());
            stub(std::ptr::from_mut(frame));
        }
    }
}
