//! MXCSR and the SIMD floating-point exceptions (SDM vol. 1, 10.2.3 and 11.5).
//!
//! A stub runs with every exception masked and no flag set. Had an exception been unmasked, the
//! instruction would have faulted without changing its destination; so the flags are looked at
//! before anything is committed. Two details follow the manual:
//!
//! * An unmasked invalid, denormal or divide-by-zero exception is found before the result is computed, so
//!   overflow, underflow and precision are not reported with it (11.5.3).
//! * Unmasked underflow is reported for every tiny result, masked underflow only for those that are inexact as well
//!   (4.9.1.5). With flush-to-zero, which unmasked underflow overrides, an exact tiny result is flushed and so
//!   becomes inexact: the stub runs with it then, and every result that may be committed is the same. Whether
//!   the result was inexact before it was flushed tells a second run without. (A result that only its denormal form
//!   makes inexact is reported as inexact, which hardware does not.) VCVTPS2PH ignores flush-to-zero (SDM vol. 2,
//!   VCVTPS2PH): its results are looked at, for a denormal one is tiny.

use iced_x86::{Instruction, Mnemonic};
use x86::control::cr4;
use x86::{Exception, Vector};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::simd::gate::Gate;

/// Every bit that exists (MXCSR_MASK).
pub(crate) const ALL: u32 = 0xffff;
/// The exception flags.
pub(crate) const FLAGS: u32 = 0x3f;
/// The exception masks; each is its flag shifted by [`MASK_SHIFT`].
const MASKS: u32 = FLAGS << MASK_SHIFT;
const MASK_SHIFT: u32 = 7;
/// Invalid, denormal, divide by zero: those found before the result is computed.
const BEFORE: u32 = 0x07;
/// Underflow.
const UNDERFLOW: u32 = 0x10;
/// Precision.
const PRECISION: u32 = 0x20;
/// Flush to zero.
const FLUSH: u32 = 1 << 15;

/// The MXCSR that a stub runs with.
#[inline(always)]
pub(crate) fn quiet(mxcsr: u32) -> u32 {
    let flush = if mxcsr & UNDERFLOW << MASK_SHIFT == 0 { FLUSH } else { 0 };
    (mxcsr & ALL | MASKS | flush) & !FLAGS
}

/// The same for the second run.
pub(crate) fn quiet_unflushed(mxcsr: u32) -> u32 {
    quiet(mxcsr) & !FLUSH
}

/// Did an instruction raise unmasked underflow?
#[inline(always)]
pub(crate) fn is_tiny(guest: u32, mxcsr: u32) -> bool {
    mxcsr & UNDERFLOW & !(guest >> MASK_SHIFT) != 0
}

/// The flags of both runs together: precision from the second.
pub(crate) fn tiny(first: u32, second: u32) -> u32 {
    first & !PRECISION | second & PRECISION
}

/// The flag of unmasked underflow if a half-precision result is tiny.
pub(crate) fn tiny_halves(guest: u32, result: &[u8]) -> u32 {
    const EXPONENT: u16 = 0x7c00;
    const FRACTION: u16 = 0x03ff;
    let masked = guest & UNDERFLOW << MASK_SHIFT != 0;
    let denormal = |half: u16| half & EXPONENT == 0 && half & FRACTION != 0;
    let mut halves = result.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    if !masked && halves.any(denormal) { UNDERFLOW } else { 0 }
}

impl Cpu {
    /// Raises #XM (#UD where the system does not handle it) if these flags, just come up, have an unmasked one.
    pub(crate) fn float_fault(&mut self, mxcsr: u32) -> Step {
        let guest = self.state.fpu.legacy.mxcsr;
        let up = mxcsr & FLAGS;
        let unmasked = up & !(guest >> MASK_SHIFT);
        if unmasked == 0 {
            return Ok(());
        }
        let reported = if unmasked & BEFORE != 0 { up & BEFORE } else { up };
        self.state.fpu.legacy.mxcsr = guest | reported;
        let handled = self.state.cr4 & cr4::OSXMMEXCPT != 0;
        let vector = if handled { Vector::SimdError } else { Vector::InvalidOpcode };
        Err(self.raise(Exception::new(vector)))
    }
}

fn load<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(if VEX { Gate::Avx } else { Gate::Sse })?;
    let value = cpu.load::<u32>(op)?;
    if value & !ALL != 0 {
        return Err(cpu.gp());
    }
    cpu.state.fpu.legacy.mxcsr = value;
    Ok(())
}

fn store<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(if VEX { Gate::Avx } else { Gate::Sse })?;
    cpu.store(op, cpu.state.fpu.legacy.mxcsr)
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    Some(match instruction.mnemonic() {
        Mnemonic::Ldmxcsr => load::<false>,
        Mnemonic::Vldmxcsr => load::<true>,
        Mnemonic::Stmxcsr => store::<false>,
        Mnemonic::Vstmxcsr => store::<true>,
        _ => return None,
    })
}
