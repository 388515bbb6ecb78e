//! The bits of page-table entries (SDM vol. 3, 4.3–4.5).

/// Present.
pub const PRESENT: u64 = 1 << 0;
/// Writable.
pub const WRITABLE: u64 = 1 << 1;
/// User pages.
pub const USER: u64 = 1 << 2;
/// Write-through.
pub const WRITE_THROUGH: u64 = 1 << 3;
/// Cache disable.
pub const CACHE_DISABLE: u64 = 1 << 4;
/// Accessed.
pub const ACCESSED: u64 = 1 << 5;
/// Dirty (in an entry that maps a page).
pub const DIRTY: u64 = 1 << 6;
/// Maps a large page (in an entry above the last level).
pub const LARGE: u64 = 1 << 7;
/// Global (in an entry that maps a page).
pub const GLOBAL: u64 = 1 << 8;
/// No execute.
pub const NO_EXECUTE: u64 = 1 << 63;

/// Physical-address bits that all our CPU models have: CPUID 8000_0008h says the same.
pub const PHYSICAL_BITS: u32 = 46;
/// The address field of an entry.
pub const ADDRESS: u64 = ((1 << PHYSICAL_BITS) - 1) & !0xfff;
/// Address bits beyond the physical width: reserved, #PF if set.
pub const RESERVED_ADDRESS: u64 = (1 << 52) - (1 << PHYSICAL_BITS);

/// Is a linear address canonical for 4-level paging: bits 47–63 all alike?
#[inline(always)]
pub const fn is_canonical(address: u64) -> bool {
    ((address as i64) << 16 >> 16) as u64 == address
}
