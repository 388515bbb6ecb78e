//! Floating point and vectors: x87, MMX, SSE and AVX, and the state they leave.

pub mod availability;
pub mod avx;
pub mod crypto;
pub mod exceptions;
pub mod fxsave;
pub mod mmx;
pub mod sse;
pub mod vectors;
pub mod x87;
pub mod xsave;

use crate::hw::cpu::{self, cr4_bits};
use crate::hw::cpuid;

/// Switches XSAVE on with the components in `wanted` that this CPU has; what is then in XCR0.
fn enable_xsave(wanted: u64) -> u64 {
    cpu::set_cr4(cpu::cr4() | cr4_bits::OSXSAVE);
    let leaf = cpuid::leaf(0xd, 0);
    let offered = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
    cpu::set_xcr0(offered & wanted | 1);
    cpu::xcr0()
}
