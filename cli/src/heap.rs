//! The heap gives back what is not needed any more.
//!
//! glibc learns from what is freed: once a kernel of 14 MB has been, blocks of that size no longer have mappings of their own, and up to twice
//! as much stays with the process. A machine frees its images when they are loaded and lives long after; its tables grow by
//! moving, and leave holes. With fixed thresholds a large block is a mapping, which grows in place and goes when it is freed.

#![allow(unsafe_code)] // mallopt

/// Blocks of this size and more are mappings; no more than that is kept at the end of the heap.
const LARGE: i32 = 1 << 20;

/// Fixes the thresholds. To be called before other threads begin.
pub fn be_frugal() {
    #[cfg(target_env = "gnu")]
    for option in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: mallopt takes plain numbers; a value that it does not like changes nothing.
        unsafe { libc::mallopt(option, LARGE) };
    }
}
