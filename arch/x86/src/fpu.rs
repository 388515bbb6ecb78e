//! The x87, SSE and AVX state in the standard layout of XSAVE (SDM vol. 1, 13.4), so that a host's own
//! FXRSTOR, XRSTOR and single instructions can work on it in place.

use serde::{Deserialize, Serialize};

/// State components: the bits of XCR0 and XSTATE_BV (SDM vol. 1, 13.1).
pub mod xfeature {
    /// x87.
    pub const X87: u64 = 1 << 0;
    /// XMM and MXCSR.
    pub const SSE: u64 = 1 << 1;
    /// The high halves of YMM.
    pub const AVX: u64 = 1 << 2;
}

/// The legacy region: the image of FXSAVE64 (SDM vol. 2, FXSAVE, table 3-46). 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C, align(16))]
pub struct Legacy {
    /// x87 control word.
    pub fcw: u16,
    /// x87 status word.
    pub fsw: u16,
    /// Abridged tag word: bit n set when physical register n is in use.
    pub ftw: u8,
    /// Zero.
    pub reserved1: u8,
    /// Last x87 opcode, 11 bits.
    pub fop: u16,
    /// Last x87 instruction.
    pub fip: u64,
    /// Last x87 data operand.
    pub fdp: u64,
    /// SSE control and status.
    pub mxcsr: u32,
    /// The bits of MXCSR that may be set.
    pub mxcsr_mask: u32,
    /// ST(0) to ST(7), 80 bits each; the low 64 are MM registers.
    pub st: [u128; 8],
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// Bytes 416 to 511: reserved and free for software.
    pub reserved2: [u64; 12],
}

/// The whole extended state. 832 bytes, 64-aligned: `Legacy`, the XSAVE header, component 2 (AVX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C, align(64))]
pub struct Fpu {
    /// x87 and SSE.
    pub legacy: Legacy,
    /// XSTATE_BV: always all components of ours; what the guest sees in memory is its XSAVE's business.
    pub xstate_bv: u64,
    /// XCOMP_BV: zero, the standard format.
    pub xcomp_bv: u64,
    /// Zero.
    pub reserved: [u64; 6],
    /// The high halves of YMM0 to YMM15.
    pub ymm_high: [u128; 16],
}

const _: () = assert!(size_of::<Legacy>() == 512 && size_of::<Fpu>() == 832);

impl Default for Fpu {
    /// The state after power-up (SDM vol. 3, table 10-1) as FINIT and Linux know it.
    fn default() -> Self {
        Self {
            legacy: Legacy {
                fcw: 0x37f,
                fsw: 0,
                ftw: 0,
                reserved1: 0,
                fop: 0,
                fip: 0,
                fdp: 0,
                mxcsr: 0x1f80,
                mxcsr_mask: 0xffff,
                st: [0; 8],
                xmm: [0; 16],
                reserved2: [0; 12],
            },
            xstate_bv: xfeature::X87 | xfeature::SSE | xfeature::AVX,
            xcomp_bv: 0,
            reserved: [0; 6],
            ymm_high: [0; 16],
        }
    }
}
