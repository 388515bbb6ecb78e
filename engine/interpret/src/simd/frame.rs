//! What goes into a stub and comes out of it.

use x86::{Fpu, Legacy};

/// The operands of one SSE, AVX or MMX instruction.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct VectorFrame {
    /// XMM0 where it is implied, then the registers of the explicit operands: low and high half.
    pub vector: [[u128; 2]; 5],
    /// The memory operand.
    pub memory: [u8; 32],
    /// RAX or the explicit general register, RDX, RCX.
    pub general: [u64; 3],
    /// RFLAGS as the instruction left them.
    pub flags: u64,
    /// MXCSR to run with, and as the instruction left it.
    pub mxcsr: u32,
    /// The host's, kept by the stub.
    pub host_mxcsr: u32,
}

impl Default for VectorFrame {
    #[inline(always)]
    fn default() -> Self {
        Self { vector: [[0; 2]; 5], memory: [0; 32], general: [0; 3], flags: 0, mxcsr: 0, host_mxcsr: 0 }
    }
}

/// The operands of one x87 instruction.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct X87Frame {
    /// The registers, as FXRSTOR64 takes and FXSAVE64 leaves them. MXCSR and XMM in it are of no account.
    pub image: Legacy,
    /// The memory operand.
    pub memory: [u8; 16],
    /// RFLAGS before (FCMOVcc) and after (FCOMI).
    pub flags: u64,
    /// The host's MXCSR, kept by the stub.
    pub host_mxcsr: u32,
    /// The host's control word, kept by the stub.
    pub host_fcw: u16,
}

impl X87Frame {
    /// A frame with the x87 registers of this state.
    pub fn of(fpu: &Fpu) -> Self {
        let image = Legacy { fip: 0, fdp: 0, fop: 0, xmm: [0; 16], mxcsr: 0x1f80, ..fpu.legacy };
        Self { image, memory: [0; 16], flags: 0, host_mxcsr: 0, host_fcw: 0 }
    }
}
