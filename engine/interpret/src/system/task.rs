//! The task-state segment: where the stacks of inner privilege levels are found, and the ports that a
//! task may use (SDM vol. 3, 7.2 and 7.7; vol. 1, 19.5.2).

use x86::{Vector, access};

use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::FLAT;
use crate::raised::Raised;
use crate::system::descriptor::kind;

/// Offset of the I/O map base in a 32-bit or 64-bit TSS.
const IO_MAP: u64 = 102;

impl Cpu {
    /// The TSS is one of 32 or 64 bits, not of a 286.
    pub fn has_wide_tss(&self) -> bool {
        self.state.tr.access & access::TYPE & !kind::BUSY == kind::TSS
    }

    /// RSP for a privilege level (0 to 2) from a 64-bit TSS.
    ///
    /// # Errors
    /// #TS(TR) beyond its limit, #PF.
    pub fn stack_of_level(&mut self, cpl: u8) -> Result<u64, Raised> {
        self.tss_stack(4 + 8 * u64::from(cpl))
    }

    /// An entry (1 to 7) of the interrupt stack table.
    ///
    /// # Errors
    /// #TS(TR) beyond its limit, #PF.
    pub fn interrupt_stack(&mut self, ist: u8) -> Result<u64, Raised> {
        self.tss_stack(36 + 8 * (u64::from(ist) - 1))
    }

    fn tss_stack(&mut self, offset: u64) -> Result<u64, Raised> {
        let at = self.tss(offset, 8)?;
        self.read_as(View::Supervisor, at, FLAT)
    }

    /// SS and ESP for a privilege level (0 to 2) from a TSS of 16 or 32 bits.
    ///
    /// # Errors
    /// #TS(TR) beyond its limit, #PF.
    pub fn stack_segment_of_level(&mut self, cpl: u8) -> Result<(u16, u64), Raised> {
        if self.has_wide_tss() {
            let at = self.tss(4 + 8 * u64::from(cpl), 6)?;
            let pointer = self.read_as::<u32>(View::Supervisor, at, FLAT)?;
            let selector = self.read_as(View::Supervisor, at.wrapping_add(4), FLAT)?;
            Ok((selector, u64::from(pointer)))
        } else {
            let at = self.tss(2 + 4 * u64::from(cpl), 4)?;
            let pointer = self.read_as::<u16>(View::Supervisor, at, FLAT)?;
            let selector = self.read_as(View::Supervisor, at.wrapping_add(2), FLAT)?;
            Ok((selector, u64::from(pointer)))
        }
    }

    /// May code above IOPL use these ports? The map has a bit for each, and none beyond the limit is free.
    ///
    /// # Errors
    /// #PF.
    pub fn ports_are_free(&mut self, port: u16, ports: u64) -> Result<bool, Raised> {
        let tr = self.state.tr;
        if !tr.is_present() || !self.has_wide_tss() || tr.limit < IO_MAP as u32 + 1 {
            return Ok(false);
        }
        let at = self.table_address(tr.base, IO_MAP);
        let map = u64::from(self.read_as::<u16>(View::Supervisor, at, FLAT)?);
        let byte = map + u64::from(port / 8);
        // The CPU always reads two bytes.
        if byte + 1 > u64::from(tr.limit) {
            return Ok(false);
        }
        let bits = self.read_as::<u16>(View::Supervisor, self.table_address(tr.base, byte), FLAT)?;
        let wanted = ((1u32 << ports) - 1) << (port % 8);
        Ok(u32::from(bits) & wanted == 0)
    }

    /// The linear address of `len` bytes in the TSS.
    fn tss(&mut self, offset: u64, len: u64) -> Result<u64, Raised> {
        let tr = self.state.tr;
        if !tr.is_present() || offset + len - 1 > u64::from(tr.limit) {
            return Err(self.selector_fault(Vector::InvalidTss, tr.selector));
        }
        Ok(self.table_address(tr.base, offset))
    }
}
