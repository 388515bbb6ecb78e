//! A stack that a transfer of control pushes to or pops from.
//!
//! RSP, SS and CS change together or not at all: the pointer moves here, in a copy, and goes to the
//! registers when nothing can fault any more.

use x86::{Exception, Gpr, Segment, SegmentRegister, Vector, access};

use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::FLAT_STACK;
use crate::raised::{Raised, Step};
use crate::segmentation::within;

/// A stack with its own copy of the pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    segment: Segment,
    /// The whole stack pointer, of which `mask` moves.
    pub pointer: u64,
    mask: u64,
    view: View,
    /// 64-bit code: no base, no limit.
    flat: bool,
    /// The error code of #SS.
    error_code: u32,
}

impl Stack {
    /// The stack of the code being executed.
    pub fn current(cpu: &Cpu) -> Self {
        Self {
            segment: *cpu.state.segment(SegmentRegister::Ss),
            pointer: cpu.get(Gpr::Rsp),
            mask: cpu.mode.stack_mask,
            view: cpu.mode.view,
            flat: cpu.mode.is_64(),
            error_code: 0,
        }
    }

    /// The stack of 64-bit code at privilege level `cpl`.
    pub fn flat(cpu: &Cpu, pointer: u64, cpl: u8) -> Self {
        Self {
            segment: Segment::default(),
            pointer,
            mask: u64::MAX,
            view: view_at(cpu, cpl),
            flat: true,
            error_code: 0,
        }
    }

    /// A stack in a segment that is loaded for a change of privilege to `cpl`.
    pub fn inner(cpu: &Cpu, segment: Segment, pointer: u64, cpl: u8) -> Self {
        let big = segment.access & access::DB != 0;
        Self {
            segment,
            pointer,
            mask: if big { 0xffff_ffff } else { 0xffff },
            view: view_at(cpu, cpl),
            flat: false,
            error_code: u32::from(segment.selector & !3),
        }
    }

    /// Pushes the low `bytes` (2, 4 or 8) of a value.
    ///
    /// # Errors
    /// #SS, #PF.
    pub fn push(&mut self, cpu: &mut Cpu, bytes: u64, value: u64) -> Step {
        let pointer = self.moved(bytes.wrapping_neg());
        let linear = self.linear(cpu, pointer, bytes)?;
        match bytes {
            2 => cpu.write_as(self.view, linear, value as u16, FLAT_STACK)?,
            4 => cpu.write_as(self.view, linear, value as u32, FLAT_STACK)?,
            _ => cpu.write_as(self.view, linear, value, FLAT_STACK)?,
        }
        self.pointer = pointer;
        Ok(())
    }

    /// Pops `bytes` (2, 4 or 8).
    ///
    /// # Errors
    /// #SS, #PF.
    pub fn pop(&mut self, cpu: &mut Cpu, bytes: u64) -> Result<u64, Raised> {
        let value = self.peek(cpu, 0, bytes)?;
        self.skip(bytes);
        Ok(value)
    }

    /// Reads `bytes` at `offset` above the top.
    ///
    /// # Errors
    /// #SS, #PF.
    pub fn peek(&self, cpu: &mut Cpu, offset: u64, bytes: u64) -> Result<u64, Raised> {
        let linear = self.linear(cpu, self.moved(offset), bytes)?;
        Ok(match bytes {
            2 => u64::from(cpu.read_as::<u16>(self.view, linear, FLAT_STACK)?),
            4 => u64::from(cpu.read_as::<u32>(self.view, linear, FLAT_STACK)?),
            _ => cpu.read_as::<u64>(self.view, linear, FLAT_STACK)?,
        })
    }

    /// Drops `bytes` from the top.
    pub fn skip(&mut self, bytes: u64) {
        self.pointer = self.moved(bytes);
    }

    /// Makes the pointer the CPU's.
    pub fn commit(&self, cpu: &mut Cpu) {
        cpu.set(Gpr::Rsp, self.pointer);
    }

    /// The pointer `by` further up: a 32-bit one is zero-extended, a 16-bit one keeps what lies above.
    fn moved(&self, by: u64) -> u64 {
        let sum = self.pointer.wrapping_add(by);
        match self.mask {
            0xffff => self.pointer & !0xffff | sum & 0xffff,
            mask => sum & mask,
        }
    }

    fn linear(&self, cpu: &mut Cpu, pointer: u64, bytes: u64) -> Result<u64, Raised> {
        let linear = if self.flat {
            pointer
        } else {
            let offset = pointer & self.mask;
            if !within(&self.segment, offset, bytes) {
                return Err(cpu.raise(Exception::with_code(Vector::StackFault, self.error_code)));
            }
            self.segment.base.wrapping_add(offset) & 0xffff_ffff
        };
        if self.view == View::UserAligned {
            match bytes {
                2 => cpu.check_alignment::<u16>(linear)?,
                4 => cpu.check_alignment::<u32>(linear)?,
                _ => cpu.check_alignment::<u64>(linear)?,
            }
        }
        Ok(linear)
    }
}

/// The rights of code at a privilege level other than the present one.
fn view_at(cpu: &Cpu, cpl: u8) -> View {
    match cpl {
        _ if cpl == cpu.mode.cpl => cpu.mode.view,
        3 => View::User,
        _ => View::Supervisor,
    }
}
