//! Vector registers and memory operands.

use base::PAGE_SIZE;

use crate::cpu::Cpu;
use crate::op::Op;
use crate::raised::{Raised, Step};
use crate::walk::Access;

impl Cpu {
    /// A YMM register: low and high half.
    #[inline(always)]
    pub(crate) fn ymm(&self, n: u8) -> [u128; 2] {
        let n = usize::from(n & 15);
        [self.state.fpu.legacy.xmm[n], self.state.fpu.ymm_high[n]]
    }

    /// Sets a YMM register: VEX-encoded instructions.
    #[inline(always)]
    pub(crate) fn set_ymm(&mut self, n: u8, value: [u128; 2]) {
        let n = usize::from(n & 15);
        [self.state.fpu.legacy.xmm[n], self.state.fpu.ymm_high[n]] = value;
    }

    /// An XMM register.
    #[inline(always)]
    pub(crate) fn xmm(&self, n: u8) -> u128 {
        self.state.fpu.legacy.xmm[usize::from(n & 15)]
    }

    /// Sets an XMM register. Legacy instructions keep the high half of the YMM register; VEX-encoded ones
    /// clear it.
    #[inline(always)]
    pub(crate) fn set_xmm<const VEX: bool>(&mut self, n: u8, value: u128) {
        let n = usize::from(n & 15);
        self.state.fpu.legacy.xmm[n] = value;
        if VEX {
            self.state.fpu.ymm_high[n] = 0;
        }
    }

    /// The linear address of a memory operand of `bytes`, which must be a multiple of `align`.
    #[inline(always)]
    pub(crate) fn aligned(&mut self, op: &Op, bytes: u64, align: u64, access: Access) -> Result<u64, Raised> {
        let linear = self.address(op, bytes, access)?;
        if linear & (align - 1) != 0 {
            return Err(self.gp());
        }
        Ok(linear)
    }

    /// Proves that up to a page of memory may be written.
    pub(crate) fn prove_write(&mut self, linear: u64, len: u64, segment: u8) -> Step {
        let view = self.mode.view;
        self.translate(linear, Access::Write, view, segment)?;
        let here = PAGE_SIZE - linear % PAGE_SIZE;
        if len > here {
            let next = self.wrap(linear.wrapping_add(here));
            self.translate(next, Access::Write, view, segment)?;
        }
        Ok(())
    }

    /// Loads a memory operand of 16 or 32 bytes.
    #[inline(always)]
    pub(crate) fn load_wide<const N: usize>(&mut self, op: &Op, align: u64) -> Result<[u8; N], Raised> {
        let linear = self.aligned(op, N as u64, align, Access::Read)?;
        let mut bytes = [0; N];
        self.read_bytes(linear, &mut bytes, op.segment)?;
        Ok(bytes)
    }

    /// Stores to a memory operand of 16 or 32 bytes.
    #[inline(always)]
    pub(crate) fn store_wide<const N: usize>(&mut self, op: &Op, align: u64, bytes: [u8; N]) -> Step {
        let linear = self.aligned(op, N as u64, align, Access::Write)?;
        self.write_bytes(linear, &bytes, op.segment)
    }
}

/// Two halves as bytes.
#[inline(always)]
pub(crate) fn to_bytes(value: [u128; 2]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&value[0].to_le_bytes());
    bytes[16..].copy_from_slice(&value[1].to_le_bytes());
    bytes
}

/// Bytes as two halves.
#[inline(always)]
pub(crate) fn from_bytes(bytes: [u8; 32]) -> [u128; 2] {
    let half = |at: usize| {
        let mut half = [0; 16];
        half.copy_from_slice(&bytes[at..at + 16]);
        u128::from_le_bytes(half)
    };
    [half(0), half(16)]
}
