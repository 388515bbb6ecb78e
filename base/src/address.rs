//! Address types. A number that a guest supplied is a claim; these say what it claims to be.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes in the smallest page.
pub const PAGE_SIZE: u64 = 4096;

/// A guest-physical address: what the guest's page tables produce and its devices use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct GuestPhys(pub u64);

impl GuestPhys {
    /// The address `bytes` further on; wraps as the address bus does.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The first address of the page this one lies in.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }
}

impl fmt::Debug for GuestPhys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gpa:{:#x}", self.0)
    }
}

impl fmt::Display for GuestPhys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A place in guest RAM: bytes from the start of the one host mapping, the PCI hole squeezed out.
/// [`GuestMemory::ram`](crate::GuestMemory::ram) makes them; every one below the size of RAM is valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RamOffset(pub u64);

impl RamOffset {
    /// The number of the page this place lies in.
    #[must_use]
    pub const fn page(self) -> usize {
        (self.0 / PAGE_SIZE) as usize
    }

    /// The place `bytes` further on.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}
