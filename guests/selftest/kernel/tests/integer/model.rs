//! Widths, edge values and the flags every result sets.

use crate::hw::cpu::flags::{PF, SF, ZF};

/// An operand width in bits: 8, 16, 32 or 64.
#[derive(Clone, Copy)]
pub struct Width(pub u32);

impl Width {
    /// The four.
    pub const ALL: [Self; 4] = [Self(8), Self(16), Self(32), Self(64)];

    /// The low bits of `value`.
    pub fn cut(self, value: u64) -> u64 {
        value & (u64::MAX >> (64 - self.0))
    }

    /// The sign bit of `value`.
    pub fn sign(self, value: u64) -> bool {
        value >> (self.0 - 1) & 1 != 0
    }

    /// A 64-bit register that held `old` after `value` was written in this width: 8 and 16
    /// bits keep the rest, 32 bits clear it.
    pub fn merge(self, old: u64, value: u64) -> u64 {
        match self.0 {
            8 | 16 => old & !self.cut(u64::MAX) | self.cut(value),
            _ => self.cut(value),
        }
    }
}

/// Values at which carries, signs and overflows turn, in all widths at once.
pub const EDGES: &[u64] = &[
    0,
    1,
    2,
    0x0f,
    0x10,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
    0x0123_4567_89ab_cdef,
];

/// SF, ZF and PF of `value`.
pub fn result_flags(width: Width, value: u64) -> u64 {
    let mut flags = 0;
    if width.sign(value) {
        flags |= SF;
    }
    if width.cut(value) == 0 {
        flags |= ZF;
    }
    if (value as u8).count_ones().is_multiple_of(2) {
        flags |= PF;
    }
    flags
}
