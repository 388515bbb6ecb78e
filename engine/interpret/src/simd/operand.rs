//! Vector registers and memory operands.

use base::{PAGE_SIZE, RamOffset};

use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::Op;
use crate::raised::{Raised, Step};
use crate::walk::Access;

impl Cpu {
    /// Copies a YMM register, or the XMM register in its low half, into a slot. Copied as bytes, so that
    /// the halves move whole: a stub loads them at once, and hardware forwards a store only to loads within it.
    #[inline(always)]
    pub(crate) fn copy_ymm(&self, n: u8, slot: &mut [u128; 2], wide: bool) {
        let n = usize::from(n & 15);
        slot[..1].copy_from_slice(&self.state.fpu.legacy.xmm[n..=n]);
        if wide {
            slot[1..].copy_from_slice(&self.state.fpu.ymm_high[n..=n]);
        }
    }

    /// Copies a slot into a YMM register, or into the XMM register in its low half alone.
    #[inline(always)]
    pub(crate) fn take_ymm(&mut self, n: u8, slot: &[u128; 2], wide: bool) {
        let n = usize::from(n & 15);
        self.state.fpu.legacy.xmm[n..=n].copy_from_slice(&slot[..1]);
        if wide {
            self.state.fpu.ymm_high[n..=n].copy_from_slice(&slot[1..]);
        }
    }

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

    /// The linear address of a memory operand of `bytes`, which must be a multiple of `align`. Scalars of 2, 4
    /// and 8 bytes are subject to alignment checking.
    #[inline(always)]
    pub(crate) fn aligned(&mut self, op: &Op, bytes: u64, align: u64, access: Access) -> Result<u64, Raised> {
        let linear = self.address(op, bytes, access)?;
        if linear & (align - 1) != 0 {
            return Err(self.gp());
        }
        if self.mode.view == View::UserAligned {
            match bytes {
                2 => self.check_alignment::<u16>(linear)?,
                4 => self.check_alignment::<u32>(linear)?,
                8 => self.check_alignment::<u64>(linear)?,
                _ => {}
            }
        }
        Ok(linear)
    }

    /// Proves that up to a page of memory may be written.
    pub(crate) fn prove_write(&mut self, linear: u64, len: u64, segment: u8) -> Step {
        let view = self.mode.view;
        let second = self.second_page(linear, len, segment)?;
        self.translate(linear, Access::Write, view, segment)?;
        if linear % PAGE_SIZE + len > PAGE_SIZE {
            self.translate(second, Access::Write, view, segment)?;
        }
        Ok(())
    }

    /// Loads up to 32 bytes: [`Cpu::read_bytes`] with the usual case done in place.
    #[inline(always)]
    pub(crate) fn read_operand(&mut self, linear: u64, into: &mut [u8], segment: u8) -> Step {
        let (entry, tag) = self.tlb.entry(self.mode.view as usize, linear);
        let at = linear % PAGE_SIZE;
        if entry.read != tag || at + into.len() as u64 > PAGE_SIZE {
            return self.read_bytes(linear, into, segment);
        }
        let at = RamOffset(entry.page + at);
        // Lengths that are known become single moves.
        match into.len() {
            4 => self.memory.read_at(at, &mut into[..4]),
            8 => self.memory.read_at(at, &mut into[..8]),
            16 => self.memory.read_at(at, &mut into[..16]),
            32 => self.memory.read_at(at, &mut into[..32]),
            _ => self.memory.read_at(at, into),
        }
        Ok(())
    }

    /// Stores up to 32 bytes, likewise.
    #[inline(always)]
    pub(crate) fn write_operand(&mut self, linear: u64, bytes: &[u8], segment: u8) -> Step {
        let (entry, tag) = self.tlb.entry(self.mode.view as usize, linear);
        let at = linear % PAGE_SIZE;
        if entry.write != tag || at + bytes.len() as u64 > PAGE_SIZE {
            return self.write_bytes(linear, bytes, segment);
        }
        let at = RamOffset(entry.page + at);
        self.leave |= match bytes.len() {
            4 => self.memory.write_at(at, &bytes[..4]),
            8 => self.memory.write_at(at, &bytes[..8]),
            16 => self.memory.write_at(at, &bytes[..16]),
            32 => self.memory.write_at(at, &bytes[..32]),
            _ => self.memory.write_at(at, bytes),
        };
        Ok(())
    }

    /// Loads a memory operand of 16 or 32 bytes.
    #[inline(always)]
    pub(crate) fn load_wide<const N: usize>(&mut self, op: &Op, align: u64) -> Result<[u8; N], Raised> {
        let linear = self.aligned(op, N as u64, align, Access::Read)?;
        let mut bytes = [0; N];
        self.read_operand(linear, &mut bytes, op.segment)?;
        Ok(bytes)
    }

    /// Stores to a memory operand of 16 or 32 bytes.
    #[inline(always)]
    pub(crate) fn store_wide<const N: usize>(&mut self, op: &Op, align: u64, bytes: [u8; N]) -> Step {
        let linear = self.aligned(op, N as u64, align, Access::Write)?;
        self.write_operand(linear, &bytes, op.segment)
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
