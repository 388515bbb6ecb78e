//! Segment registers with their hidden part, and the table registers (SDM vol. 3, 3.4 and 2.4).

use serde::{Deserialize, Serialize};

/// The access rights of a segment: the second doubleword of its descriptor shifted right by 8, so that
/// bits 0–7 are the access byte and 12–15 AVL, L, D/B, G (SDM vol. 3, 3.4.5).
pub mod access {
    /// The type field.
    pub const TYPE: u16 = 0xf;
    /// Accessed (code and data).
    pub const ACCESSED: u16 = 1 << 0;
    /// Writable (data) or readable (code).
    pub const WRITABLE: u16 = 1 << 1;
    /// Expand-down (data) or conforming (code).
    pub const CONFORMING: u16 = 1 << 2;
    /// Code.
    pub const CODE: u16 = 1 << 3;
    /// Code or data, not a system segment.
    pub const NOT_SYSTEM: u16 = 1 << 4;
    /// Descriptor privilege level, two bits.
    pub const DPL: u16 = 3 << 5;
    /// Present.
    pub const PRESENT: u16 = 1 << 7;
    /// For the system's own use.
    pub const AVL: u16 = 1 << 12;
    /// 64-bit code.
    pub const LONG: u16 = 1 << 13;
    /// 32-bit default size, or big stack.
    pub const DB: u16 = 1 << 14;
    /// The limit counts pages.
    pub const GRANULAR: u16 = 1 << 15;
}

/// A segment register (or LDTR, TR): the selector and what the CPU cached of its descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// First linear address.
    pub base: u64,
    /// Highest offset in bytes (already scaled by granularity).
    pub limit: u32,
    /// The visible part.
    pub selector: u16,
    /// [`access`] bits; zero when a null selector was loaded: such a segment is unusable.
    pub access: u16,
}

impl Segment {
    /// A real-mode segment: base is 16 × selector, 64 KiB, writable.
    pub const fn real(selector: u16) -> Self {
        Self {
            base: (selector as u64) << 4,
            limit: 0xffff,
            selector,
            access: access::PRESENT | access::NOT_SYSTEM | access::WRITABLE | access::ACCESSED,
        }
    }

    /// A flat 4 GiB segment with these access bits (G is added).
    pub const fn flat(selector: u16, access_bits: u16) -> Self {
        Self { base: 0, limit: u32::MAX, selector, access: access_bits | access::GRANULAR }
    }

    /// What a GDT or LDT entry (its 8 bytes, little-endian) says; `base` is then 32 bits wide.
    pub const fn from_descriptor(selector: u16, raw: u64) -> Self {
        let access = (raw >> 40) as u16 & 0xf0ff;
        let base = (raw >> 16) & 0xff_ffff | (raw >> 32) & 0xff00_0000;
        let limit = (raw & 0xffff) as u32 | (raw >> 32) as u32 & 0xf_0000;
        let limit = if access & access::GRANULAR != 0 { limit << 12 | 0xfff } else { limit };
        Self { base, limit, selector, access }
    }

    /// The GDT entry that would load as this segment (the low 8 bytes for a system segment).
    pub const fn to_descriptor(self) -> u64 {
        let limit = if self.access & access::GRANULAR != 0 { self.limit >> 12 } else { self.limit } as u64;
        (limit & 0xffff)
            | (self.base & 0xff_ffff) << 16
            | (self.access as u64 & 0xf0ff) << 40
            | (limit & 0xf_0000) << 32
            | (self.base & 0xff00_0000) << 32
    }

    /// May it be used at all? A null selector makes it unusable.
    pub const fn is_present(self) -> bool {
        self.access & access::PRESENT != 0
    }

    /// Descriptor privilege level.
    pub const fn dpl(self) -> u8 {
        ((self.access & access::DPL) >> 5) as u8
    }

    /// Requested privilege level: the low two bits of the selector.
    pub const fn rpl(self) -> u8 {
        (self.selector & 3) as u8
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_round_trip() {
        for raw in [0x00cf_9a00_0000_ffff_u64, 0x00af_9b00_0000_ffff, 0x1240_9234_5678_9abc] {
            assert_eq!(Segment::from_descriptor(8, raw).to_descriptor(), raw, "{raw:#x}");
        }
        let segment = Segment::from_descriptor(0x10, 0x12cf_9234_5678_9abc);
        assert_eq!((segment.base, segment.limit), (0x1234_5678, 0xf_9abc << 12 | 0xfff));
    }
}
