//! Shared mutable statics.

use core::cell::UnsafeCell;

/// A static that is written without a lock.
///
/// The kernel runs one test at a time on one CPU; what handlers and other CPUs share beside
/// atomics is handed over while nobody else looks. The name is the warning.
#[repr(transparent)]
pub struct Racy<T>(UnsafeCell<T>);

// SAFETY: see above; every use argues for itself through the raw pointer it takes.
unsafe impl<T> Sync for Racy<T> {}

impl<T> Racy<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The address of the value.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}
