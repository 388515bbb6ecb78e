//! From effective to linear addresses: segment bases, limits and rights (SDM vol. 3, 5.3 and 5.4).

use x86::{Segment, SegmentRegister, access};

use crate::cpu::Cpu;
use crate::op::{FLAT, Op};
use crate::raised::Raised;
use crate::walk::Access;

impl Cpu {
    /// The linear address of the memory operand, checked for an access of `len` bytes.
    ///
    /// # Errors
    /// #GP(0) or #SS(0) where the segment does not allow it.
    #[inline(always)]
    pub fn address(&mut self, op: &Op, len: u64, access: Access) -> Result<u64, Raised> {
        let offset = op.effective(self);
        if op.segment & FLAT != 0 {
            return Ok(offset);
        }
        self.linear(op.segment, offset, len, access)
    }

    /// The linear address of an offset into a segment (a register number, `FLAT` or `FLAT_STACK`),
    /// checked likewise.
    ///
    /// # Errors
    /// #GP(0) or #SS(0) where the segment does not allow it.
    #[inline]
    pub fn linear(&mut self, segment: u8, offset: u64, len: u64, access: Access) -> Result<u64, Raised> {
        if segment & FLAT != 0 {
            return Ok(offset);
        }
        // What nearly all 32-bit code has: all 4 GiB, for reading and writing.
        let register = &self.state.segments[usize::from(segment)];
        let kind = access::PRESENT | access::CODE | access::CONFORMING | access::WRITABLE;
        let plain = register.access & kind == access::PRESENT | access::WRITABLE;
        if plain && register.base == 0 && register.limit == u32::MAX && !self.mode.is_64() {
            return Ok(offset & 0xffff_ffff);
        }
        self.linear_checked(segment, offset, len, access)
    }

    /// [`Cpu::linear`] with all its checks.
    fn linear_checked(&mut self, segment: u8, offset: u64, len: u64, access: Access) -> Result<u64, Raised> {
        let register = self.state.segments[usize::from(segment)];
        if self.mode.is_64() {
            let based = segment == SegmentRegister::Fs as u8 || segment == SegmentRegister::Gs as u8;
            return Ok(if based { offset.wrapping_add(register.base) } else { offset });
        }
        let rights = register.access;
        let code = rights & access::CODE != 0;
        let allowed = !self.mode.protected
            || self.mode.v86
            || register.is_present()
                && match access {
                    Access::Read => !code || rights & access::WRITABLE != 0,
                    Access::Write => !code && rights & access::WRITABLE != 0,
                    Access::Fetch => true,
                };
        let within = within(&register, offset, len);
        if !(allowed && within) {
            return Err(self.segment_fault(segment));
        }
        Ok(offset.wrapping_add(register.base) & 0xffff_ffff)
    }
}

/// Do `len` bytes at `offset` lie within a segment's limit?
pub(crate) fn within(segment: &Segment, offset: u64, len: u64) -> bool {
    let rights = segment.access;
    let last = offset.wrapping_add(len.wrapping_sub(1));
    let limit = u64::from(segment.limit);
    if rights & access::CODE == 0 && rights & access::CONFORMING != 0 {
        // Expand-down: valid offsets lie above the limit, up to 64 KiB or 4 GiB.
        let top = if rights & access::DB != 0 { 0xffff_ffff } else { 0xffff };
        offset > limit && last <= top && last >= offset
    } else {
        // A flat 4 GiB segment lets accesses wrap around its end.
        last <= limit && last >= offset || limit == 0xffff_ffff
    }
}
