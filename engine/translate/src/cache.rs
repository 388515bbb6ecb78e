//! The code cache: one bounded arena, seen through two views so that nothing is writable and executable
//! at once.

#![allow(unsafe_code)] // writes code through the writable view

use std::io;

use crate::memory::Mapping;

/// Bytes of the arena.
const CAPACITY: usize = 64 << 20;
/// Bytes that are used at first, and after the arena was emptied.
const MODEST: usize = 16 << 20;

const PAGE: usize = base::PAGE_SIZE as usize;

/// The arena. Offsets are the same in both views.
pub(crate) struct CodeCache {
    writable: Mapping,
    /// The other view, where it is in this process.
    _executable: Option<Mapping>,
    /// The address at which code is executed.
    base: u64,
    used: usize,
    /// No more than that is used for now.
    limit: usize,
    modest: usize,
    capacity: usize,
}

impl CodeCache {
    /// An empty arena.
    pub fn new() -> io::Result<Self> {
        // Not a file: profilers look names up (`/tmp/perf-PID.map`) for code in anonymous memory only.
        let writable = Mapping::with_twin(CAPACITY)?;
        let executable = writable.twin()?;
        Ok(Self {
            writable,
            base: executable.start() as u64,
            _executable: Some(executable),
            used: 0,
            limit: MODEST,
            modest: MODEST,
            capacity: CAPACITY,
        })
    }

    /// An empty arena of `len` bytes whose code is executed by another process, at `base`.
    pub fn elsewhere(writable: Mapping, base: u64, len: usize) -> Self {
        Self { writable, base, _executable: None, used: 0, limit: len, modest: len, capacity: len }
    }

    /// Is there room for so many bytes?
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= self.limit
    }

    /// Allows more of the arena to be used, if there is more.
    pub fn grow(&mut self) -> bool {
        let grown = (2 * self.limit).min(self.capacity);
        std::mem::replace(&mut self.limit, grown) < grown
    }

    /// Appends code and gives its offset. The caller has made sure of the room.
    pub fn append(&mut self, code: &[u8]) -> u32 {
        let at = self.used;
        assert!(at + code.len() <= self.capacity);
        // SAFETY: in bounds of the writable view; no translated code runs while Rust writes.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.writable.start().add(at), code.len());
        }
        self.used = (at + code.len()).next_multiple_of(16);
        at as u32
    }

    /// Overwrites the 32-bit displacement at `at` so that it leads to `target` (offsets in the arena).
    pub fn link(&mut self, at: u32, target: u32) {
        let displacement = target.wrapping_sub(at + 4);
        self.patch(at, &displacement.to_le_bytes());
    }

    /// Overwrites code.
    pub fn patch(&mut self, at: u32, bytes: &[u8]) {
        assert!(at as usize + bytes.len() <= self.used);
        // SAFETY: in bounds of the writable view; no translated code runs while Rust writes.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.writable.start().add(at as usize),
                bytes.len(),
            );
        }
    }

    /// The executable address of an offset.
    pub fn address(&self, at: u32) -> u64 {
        self.base + u64::from(at)
    }

    /// The offset of an executable address, if it is one.
    pub fn offset(&self, address: u64) -> Option<u32> {
        let offset = address.wrapping_sub(self.base);
        (offset < self.used as u64).then_some(offset as u32)
    }

    /// The range of executable addresses.
    pub fn range(&self) -> (u64, u64) {
        (self.base, self.capacity as u64)
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Throws everything from `keep` on away, and gives the memory back.
    pub fn truncate(&mut self, keep: u32) {
        self.writable.give_back((keep as usize).next_multiple_of(PAGE), self.used);
        (self.used, self.limit) = (keep as usize, self.modest);
    }
}
