//! The memory image of FXSAVE and XSAVE (SDM vol. 1, 10.5.1 and 13.4), and access to pieces of it.

use std::ops::Range;

use x86::Legacy;

use crate::cpu::Cpu;
use crate::raised::Step;
use crate::simd::mxcsr;

/// Bytes of the standard format: legacy region, header, component 2. The compacted one has it in the same place.
pub(super) const SIZE: usize = 832;
/// FCW to FDP.
pub(super) const X87_CONTROL: Range<usize> = 0..24;
/// MXCSR and MXCSR_MASK.
pub(super) const MXCSR: Range<usize> = 24..32;
/// ST(0) to ST(7).
pub(super) const STACK: Range<usize> = 32..160;
/// Where XMM0 is.
const XMM: usize = 160;
/// XSTATE_BV.
pub(super) const XSTATE_BV: Range<usize> = 512..520;
/// XCOMP_BV.
pub(super) const XCOMP_BV: Range<usize> = 520..528;
/// The whole header.
pub(super) const HEADER: Range<usize> = 512..576;
/// Where the high half of YMM0 is.
const YMM: usize = 576;

/// The image, and how much of it there is in the present mode.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub bytes: [u8; SIZE],
    /// 16 vector registers in 64-bit code, 8 elsewhere.
    registers: usize,
    /// FIP and FDP have 64 bits (REX.W).
    wide: bool,
}

impl Image {
    pub fn new(cpu: &Cpu, wide: bool) -> Self {
        Self { bytes: [0; SIZE], registers: if cpu.mode.is_64() { 16 } else { 8 }, wide }
    }

    /// The XMM registers of the present mode.
    pub fn xmm(&self) -> Range<usize> {
        XMM..XMM + 16 * self.registers
    }

    /// The high halves of YMM registers.
    pub fn ymm(&self) -> Range<usize> {
        YMM..YMM + 16 * self.registers
    }

    /// Fills in all that the state has, except the header.
    pub fn fill(&mut self, cpu: &Cpu) {
        let fpu = &cpu.state.fpu;
        let legacy = &fpu.legacy;
        self.bytes[0..2].copy_from_slice(&legacy.fcw.to_le_bytes());
        self.bytes[2..4].copy_from_slice(&legacy.fsw.to_le_bytes());
        self.bytes[4] = legacy.ftw;
        self.bytes[6..8].copy_from_slice(&legacy.fop.to_le_bytes());
        // Without REX.W an offset has 32 bits and the selector behind it reads as zero.
        let mask = if self.wide { u64::MAX } else { 0xffff_ffff };
        self.bytes[8..16].copy_from_slice(&(legacy.fip & mask).to_le_bytes());
        self.bytes[16..24].copy_from_slice(&(legacy.fdp & mask).to_le_bytes());
        self.bytes[24..28].copy_from_slice(&legacy.mxcsr.to_le_bytes());
        self.bytes[28..32].copy_from_slice(&mxcsr::ALL.to_le_bytes());
        put(&mut self.bytes[STACK], &legacy.st);
        put(&mut self.bytes[XMM..XMM + 256], &legacy.xmm);
        put(&mut self.bytes[YMM..YMM + 256], &fpu.ymm_high);
    }

    /// The x87 part, as far as FXRSTOR looks at it.
    pub fn x87(&self) -> Legacy {
        let mask = if self.wide { u64::MAX } else { 0xffff_ffff };
        Legacy {
            fcw: self.word(0) as u16,
            fsw: self.word(2) as u16,
            ftw: self.bytes[4],
            fop: self.word(6) as u16,
            fip: self.word(8) & mask,
            fdp: self.word(16) & mask,
            st: self.registers::<8>(STACK.start),
            ..Legacy { ..x86::Fpu::default().legacy }
        }
    }

    /// MXCSR.
    pub fn mxcsr(&self) -> u32 {
        self.word(MXCSR.start) as u32
    }

    /// Copies XMM registers of the present mode from the image.
    pub fn take_xmm(&self, cpu: &mut Cpu) {
        let n = self.registers;
        cpu.state.fpu.legacy.xmm[..n].copy_from_slice(&self.registers::<16>(XMM)[..n]);
    }

    /// Copies the high halves of YMM registers.
    pub fn take_ymm(&self, cpu: &mut Cpu) {
        let n = self.registers;
        cpu.state.fpu.ymm_high[..n].copy_from_slice(&self.registers::<16>(YMM)[..n]);
    }

    /// Eight bytes at an offset.
    pub fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(word)
    }

    fn registers<const N: usize>(&self, at: usize) -> [u128; N] {
        std::array::from_fn(|n| {
            let at = at + 16 * n;
            u128::from(self.word(at)) | u128::from(self.word(at + 8)) << 64
        })
    }

    /// Loads these pieces from memory.
    pub fn read(&mut self, cpu: &mut Cpu, linear: u64, segment: u8, pieces: &[Range<usize>]) -> Step {
        for piece in pieces {
            let at = cpu.wrap(linear.wrapping_add(piece.start as u64));
            cpu.read_bytes(at, &mut self.bytes[piece.clone()], segment)?;
        }
        Ok(())
    }

    /// Proves that these pieces may be written.
    pub fn prove(cpu: &mut Cpu, linear: u64, segment: u8, pieces: &[Range<usize>]) -> Step {
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let at = cpu.wrap(linear.wrapping_add(piece.start as u64));
            cpu.prove_write(at, piece.len() as u64, segment)?;
        }
        Ok(())
    }

    /// Stores these pieces to memory, all or none.
    pub fn write(&self, cpu: &mut Cpu, linear: u64, segment: u8, pieces: &[Range<usize>]) -> Step {
        Self::prove(cpu, linear, segment, pieces)?;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let at = cpu.wrap(linear.wrapping_add(piece.start as u64));
            cpu.write_bytes(at, &self.bytes[piece.clone()], segment)?;
        }
        Ok(())
    }
}

fn put(into: &mut [u8], registers: &[u128]) {
    for (bytes, register) in into.chunks_exact_mut(16).zip(registers) {
        bytes.copy_from_slice(&register.to_le_bytes());
    }
}
