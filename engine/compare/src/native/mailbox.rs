//! Memory shared with the child: cases out, ends back.

#![allow(unsafe_code)] // a shared mapping and futexes on it

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32};

use crate::end::End;
use crate::layout::IMAGE_BYTES;
use crate::start::Start;

use super::{NativeError, last_error};

/// Cases that may be on their way at once.
pub const SLOTS: usize = 128;

/// The words both sides look at.
#[repr(C)]
pub(super) struct Control {
    /// Cases handed over so far. A futex.
    pub submitted: AtomicU32,
    /// Cases finished so far. A futex.
    pub finished: AtomicU32,
    /// The child's set-up: 0 under way, 1 done, otherwise minus the error number. A futex.
    pub ready: AtomicI32,
}

/// One case.
#[repr(C)]
pub(super) struct Slot {
    pub start: Start,
    pub end: End,
}

/// The whole shared region.
#[repr(C)]
pub(super) struct Region {
    pub control: Control,
    pub background: [u8; IMAGE_BYTES],
    pub slots: [Slot; SLOTS],
}

/// Our mapping of it.
#[derive(Debug)]
pub(super) struct Mailbox {
    region: NonNull<Region>,
}

// SAFETY: the mapping belongs to the value; it is used by one thread at a time.
unsafe impl Send for Mailbox {}

impl Mailbox {
    pub fn new(background: &[u8; IMAGE_BYTES]) -> Result<Self, NativeError> {
        // SAFETY: a fresh anonymous mapping, inherited by the child and shared with it.
        let region = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Region>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let region = match NonNull::new(region.cast::<Region>()) {
            Some(region) if region.as_ptr().cast() != libc::MAP_FAILED => region,
            _ => return Err(last_error("shared memory")),
        };
        // SAFETY: in bounds of the mapping just made.
        unsafe { (&raw mut (*region.as_ptr()).background).copy_from(background, 1) };
        Ok(Self { region })
    }

    /// The region, for the child.
    pub fn region(&self) -> *mut Region {
        self.region.as_ptr()
    }

    /// The words both sides look at.
    pub fn control(&self) -> &Control {
        // SAFETY: mapped as long as `self`; atomics may be shared with another process.
        unsafe { &(*self.region.as_ptr()).control }
    }

    fn slot(&self, number: u32) -> *mut Slot {
        // SAFETY: the index is below the length.
        unsafe { (&raw mut (*self.region.as_ptr()).slots).cast::<Slot>().add(number as usize % SLOTS) }
    }

    /// Copies a case in. The slot must not be on its way.
    pub fn put(&self, number: u32, start: &Start) {
        // SAFETY: the slot is ours until it is submitted.
        unsafe { (&raw mut (*self.slot(number)).start).copy_from(start, 1) }
    }

    /// Copies an end out. All its fields are plain numbers, so whatever the child left there is one.
    pub fn end(&self, number: u32) -> End {
        // SAFETY: the slot is finished, so nobody writes it (but a child gone wild, which yields other
        // numbers).
        unsafe { (&raw const (*self.slot(number)).end).read_volatile() }
    }

    /// Says how a case ended in the child's place.
    pub fn set_end(&self, number: u32, end: &End) {
        // SAFETY: the child is dead.
        unsafe { (&raw mut (*self.slot(number)).end).copy_from(end, 1) }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nothing borrows it any more.
        unsafe { libc::munmap(self.region.as_ptr().cast(), size_of::<Region>()) };
    }
}

/// Waits while `word` is `value`, for `milliseconds` at most.
pub(super) fn wait(word: &AtomicU32, value: u32, milliseconds: Option<u32>) {
    let limit = milliseconds
        .map(|ms| libc::timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the limit outlive the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, limit) };
}

/// Wakes whoever waits for `word`.
pub(super) fn wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}
