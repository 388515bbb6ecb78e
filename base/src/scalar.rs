//! The widths a CPU loads and stores in one go, accessed exactly once.
//!
//! Guest RAM is shared with other vCPUs, so an access must be one machine access of its width, at any
//! alignment, and the compiler may neither split, repeat nor drop it. Rust's atomics demand alignment
//! and `read_volatile` does too; one `mov` in inline assembly is what the architecture (Intel SDM vol. 3,
//! 10.1 “Locked Atomic Operations”) promises and no more.

#![allow(unsafe_code)] // raw access to guest RAM; the callers in `memory` check the bounds

use std::arch::asm;

mod sealed {
    pub trait Sealed {}
}

/// An unsigned integer of 1, 2, 4 or 8 bytes.
pub trait Scalar: sealed::Sealed + Copy + Eq + Send + Sync + 'static {
    /// Bytes it takes.
    const SIZE: u64;
    /// Widens with zeroes.
    fn to_u64(self) -> u64;
    /// Keeps the low bits.
    fn from_u64(value: u64) -> Self;
    /// One load.
    ///
    /// # Safety
    /// `at` is valid for reads of `SIZE` bytes.
    unsafe fn load(at: *const u8) -> Self;
    /// One store.
    ///
    /// # Safety
    /// `at` is valid for writes of `SIZE` bytes.
    unsafe fn store(at: *mut u8, value: Self);
    /// One LOCK CMPXCHG; gives what was found there, which equals `old` exactly when `new` was stored.
    ///
    /// # Safety
    /// `at` is valid for reads and writes of `SIZE` bytes.
    unsafe fn compare_exchange(at: *mut u8, old: Self, new: Self) -> Self;
}

macro_rules! scalar {
    ($type:ty, $class:ident, $pattern:literal, $accumulator:tt) => {
        impl sealed::Sealed for $type {}
        impl Scalar for $type {
            const SIZE: u64 = size_of::<$type>() as u64;
            #[inline(always)]
            fn to_u64(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as $type
            }
            #[inline(always)]
            unsafe fn load(at: *const u8) -> Self {
                let value: $type;
                // SAFETY: the caller promises that `at` may be read.
                unsafe {
                    asm!(concat!("mov ", $pattern, ", [{at}]"), at = in(reg) at, v = out($class) value,
                         options(nostack, preserves_flags, readonly));
                }
                value
            }
            #[inline(always)]
            unsafe fn store(at: *mut u8, value: Self) {
                // SAFETY: the caller promises that `at` may be written.
                unsafe {
                    asm!(concat!("mov [{at}], ", $pattern), at = in(reg) at, v = in($class) value,
                         options(nostack, preserves_flags));
                }
            }
            #[inline(always)]
            unsafe fn compare_exchange(at: *mut u8, old: Self, new: Self) -> Self {
                let found: $type;
                // SAFETY: the caller promises that `at` may be read and written.
                unsafe {
                    asm!(concat!("lock cmpxchg [{at}], ", $pattern), at = in(reg) at, v = in($class) new,
                         inlateout($accumulator) old => found, options(nostack));
                }
                found
            }
        }
    };
}

scalar!(u8, reg_byte, "{v}", "al");
scalar!(u16, reg, "{v:x}", "ax");
scalar!(u32, reg, "{v:e}", "eax");
scalar!(u64, reg, "{v:r}", "rax");
