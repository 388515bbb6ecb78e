//! Descriptors of legacy protected mode.

use crate::hw::gdt;

/// Bits of a descriptor's access byte: present, code or data.
pub const PRESENT: u64 = 0x90;

/// A data or code descriptor: access byte, base, limit in bytes (or pages with `flags` bit 3),
/// flags G, D/B, L, AVL as bits 3 to 0.
pub const fn data_segment(access: u64, base: u64, limit: u64, flags: u64) -> u64 {
    gdt::system(PRESENT | access, base, limit) | flags << 52
}

/// An available 32-bit task-state segment of 104 bytes at `base`.
pub const fn task_segment(base: u64) -> u64 {
    gdt::system(0x89, base, 103)
}
