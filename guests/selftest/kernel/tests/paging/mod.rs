//! Paging in 64-bit mode: translation, permissions, error codes, accessed and dirty bits.

pub mod bits;
pub mod crossing;
pub mod errors;
pub mod invalidation;
pub mod mapping;
pub mod user;
