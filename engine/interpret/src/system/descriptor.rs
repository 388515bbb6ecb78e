//! Entries of the GDT and LDT (SDM vol. 3, 3.4.5 and 3.5): finding them, and marking them used.
//!
//! The CPU reads its tables as the supervisor whatever the privilege of the code, and without the
//! override of SMAP.

use x86::{Exception, Segment, Vector, access};

use crate::access::Place;
use crate::cpu::Cpu;
use crate::mode::View;
use crate::op::FLAT;
use crate::raised::{Raised, Step};
use crate::walk::Access;

/// The privilege level in a selector.
pub(crate) const RPL: u16 = 3;
/// The selector's bit that names the LDT.
const TI: u16 = 1 << 2;

/// Types of system descriptors (SDM vol. 3, table 3-2).
pub(crate) mod kind {
    #![allow(missing_docs)] // the manual's own names
    pub const TSS_16: u16 = 1;
    pub const LDT: u16 = 2;
    pub const CALL_GATE_16: u16 = 4;
    pub const TASK_GATE: u16 = 5;
    pub const INTERRUPT_GATE_16: u16 = 6;
    pub const TRAP_GATE_16: u16 = 7;
    pub const TSS: u16 = 9;
    pub const CALL_GATE: u16 = 12;
    pub const INTERRUPT_GATE: u16 = 14;
    pub const TRAP_GATE: u16 = 15;
    /// The bit that makes a TSS busy.
    pub const BUSY: u16 = 2;
}

/// A descriptor and where it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    /// The selector that named it.
    pub selector: u16,
    /// Linear address of the entry.
    at: u64,
    /// The bytes that lie behind it within the table's limit, up to 8: the upper half of a system
    /// descriptor in long mode.
    has_upper: bool,
    /// Its 8 bytes.
    pub raw: u64,
    /// The same as a segment.
    pub segment: Segment,
}

impl Descriptor {
    /// Its access bits.
    pub fn access(&self) -> u16 {
        self.segment.access
    }

    /// Is it a code segment?
    pub fn is_code(&self) -> bool {
        self.access() & (access::NOT_SYSTEM | access::CODE) == access::NOT_SYSTEM | access::CODE
    }

    /// Is it a data segment that can be written: a stack?
    pub fn is_writable_data(&self) -> bool {
        self.access() & (access::NOT_SYSTEM | access::CODE | access::WRITABLE)
            == access::NOT_SYSTEM | access::WRITABLE
    }

    /// Is it a conforming code segment?
    pub fn is_conforming(&self) -> bool {
        self.is_code() && self.access() & access::CONFORMING != 0
    }

    /// The type of a system descriptor; `None` for code and data.
    pub fn system_kind(&self) -> Option<u16> {
        (self.access() & access::NOT_SYSTEM == 0).then_some(self.access() & access::TYPE)
    }

    /// Requested privilege level of the selector.
    pub fn rpl(&self) -> u8 {
        (self.selector & RPL) as u8
    }

    /// Descriptor privilege level.
    pub fn dpl(&self) -> u8 {
        self.segment.dpl()
    }
}

/// Is it a null selector?
pub(crate) fn is_null(selector: u16) -> bool {
    selector & !RPL == 0
}

impl Cpu {
    /// The descriptor that a selector names. `None` for a null selector and beyond the table's limit.
    ///
    /// # Errors
    /// #PF of the table.
    pub fn find_descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, Raised> {
        let offset = u64::from(selector & !(RPL | TI));
        let (base, limit) = if selector & TI == 0 {
            (self.state.gdtr.base, u64::from(self.state.gdtr.limit))
        } else if self.state.ldtr.is_present() {
            (self.state.ldtr.base, u64::from(self.state.ldtr.limit))
        } else {
            return Ok(None);
        };
        if is_null(selector) || offset + 7 > limit {
            return Ok(None);
        }
        let at = self.table_address(base, offset);
        let raw = self.read_as::<u64>(View::Supervisor, at, FLAT)?;
        let segment = Segment::from_descriptor(selector, raw);
        Ok(Some(Descriptor { selector, at, has_upper: offset + 15 <= limit, raw, segment }))
    }

    /// The descriptor that a selector names.
    ///
    /// # Errors
    /// An exception of this vector with the selector as its error code if there is none; #PF of the table.
    pub fn descriptor(&mut self, selector: u16, vector: Vector) -> Result<Descriptor, Raised> {
        match self.find_descriptor(selector)? {
            Some(descriptor) => Ok(descriptor),
            None => Err(self.selector_fault(vector, selector)),
        }
    }

    /// The upper 8 bytes of a system descriptor in long mode, if the table holds them.
    ///
    /// # Errors
    /// #PF of the table.
    pub fn upper_half(&mut self, descriptor: &Descriptor) -> Result<Option<u64>, Raised> {
        if !descriptor.has_upper {
            return Ok(None);
        }
        self.read_as(View::Supervisor, descriptor.at.wrapping_add(8), FLAT).map(Some)
    }

    /// Sets the accessed bit of a code or data descriptor, in the table and in `descriptor`.
    ///
    /// # Errors
    /// #PF of the table.
    pub fn mark_accessed(&mut self, descriptor: &mut Descriptor) -> Step {
        if descriptor.access() & access::ACCESSED == 0 {
            self.change_type(descriptor, access::ACCESSED, 0)?;
        }
        Ok(())
    }

    /// Sets and clears bits of a descriptor's access byte, atomically in the table and in `descriptor`.
    ///
    /// # Errors
    /// #PF of the table.
    pub fn change_type(&mut self, descriptor: &mut Descriptor, set: u16, clear: u16) -> Step {
        let at = descriptor.at.wrapping_add(5);
        let change = |byte: u8| byte & !(clear as u8) | set as u8;
        match self.translate(at, Access::Write, View::Supervisor, FLAT)? {
            Place::Ram(at) => loop {
                let old = self.memory.load::<u8>(at);
                let (found, code) = self.memory.compare_exchange(at, old, change(old));
                self.leave |= code;
                if found == old {
                    break;
                }
            },
            Place::Device(_) => {
                let old = self.read_as::<u8>(View::Supervisor, at, FLAT)?;
                self.write_as(View::Supervisor, at, change(old), FLAT)?;
            }
        }
        descriptor.segment.access = descriptor.segment.access & !clear | set;
        Ok(())
    }

    /// A linear address in a table: cut to 32 bits outside long mode.
    pub fn table_address(&self, base: u64, offset: u64) -> u64 {
        let at = base.wrapping_add(offset);
        if self.mode.long { at } else { at & 0xffff_ffff }
    }

    /// Records an exception whose error code is a selector.
    #[cold]
    pub fn selector_fault(&mut self, vector: Vector, selector: u16) -> Raised {
        self.raise(Exception::with_code(vector, u32::from(selector & !RPL)))
    }

    /// #GP with a selector.
    #[cold]
    pub fn gp_selector(&mut self, selector: u16) -> Raised {
        self.selector_fault(Vector::GeneralProtection, selector)
    }
}
