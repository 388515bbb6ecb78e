//! Whether the control registers let an instruction of these families run (SDM vol. 3, 2.5, 13.1; vol. 1, 13.3).

use x86::control::{cr0, cr4};
use x86::xfeature;
use x86::{Exception, Vector};

use crate::cpu::Cpu;
use crate::raised::{Raised, Step};

/// A family of instructions by what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// x87 and the instructions that save its state: CR0.EM or CR0.TS raise #NM.
    X87,
    /// MMX: CR0.EM raises #UD, CR0.TS #NM, then pending x87 errors #MF.
    Mmx,
    /// SSE: CR0.EM or no CR4.OSFXSR raise #UD, CR0.TS #NM.
    Sse,
    /// AVX: no CR4.OSXSAVE, no AVX in XCR0, real or virtual-8086 mode raise #UD, CR0.TS #NM.
    Avx,
}

impl Cpu {
    /// Checks that an instruction of a family may run.
    ///
    /// # Errors
    /// #UD, #NM, #MF in the order of the manual.
    #[inline(always)]
    pub fn pass(&mut self, gate: Gate) -> Step {
        let off = self.state.cr0 & (cr0::EM | cr0::TS) != 0;
        let open = match gate {
            Gate::X87 => !off,
            Gate::Mmx => !off && !self.x87_error(),
            Gate::Sse => !off && self.state.cr4 & cr4::OSFXSR != 0,
            Gate::Avx => self.state.cr0 & cr0::TS == 0 && self.avx_enabled(),
        };
        if open { Ok(()) } else { Err(self.refuse(gate)) }
    }

    /// Raises #MF if an unmasked x87 error is pending: before every instruction that waits.
    #[inline(always)]
    pub fn wait(&mut self) -> Step {
        if self.x87_error() { Err(self.x87_fault()) } else { Ok(()) }
    }

    /// Is an unmasked x87 error pending?
    #[inline(always)]
    fn x87_error(&self) -> bool {
        let legacy = &self.state.fpu.legacy;
        legacy.fsw & !legacy.fcw & 0x3f != 0
    }

    /// #MF. With CR0.NE clear a PC would signal FERR and get IRQ 13 from its second 8259 instead; the board
    /// has no such wire, and no system in long mode or of the last 30 years asks for it, so it is #MF, too.
    #[cold]
    fn x87_fault(&mut self) -> Raised {
        self.raise(Exception::new(Vector::X87Error))
    }

    fn avx_enabled(&self) -> bool {
        const NEEDED: u64 = xfeature::SSE | xfeature::AVX;
        self.mode.protected
            && !self.mode.v86
            && self.state.cr4 & cr4::OSXSAVE != 0
            && self.state.xcr0 & NEEDED == NEEDED
    }

    #[cold]
    #[inline(never)]
    fn refuse(&mut self, gate: Gate) -> Raised {
        let em = self.state.cr0 & cr0::EM != 0;
        let undefined = match gate {
            Gate::X87 => false,
            Gate::Mmx => em,
            Gate::Sse => em || self.state.cr4 & cr4::OSFXSR == 0,
            Gate::Avx => !self.avx_enabled(),
        };
        match () {
            () if undefined => self.ud(),
            () if self.state.cr0 & (cr0::TS | cr0::EM) != 0 => {
                self.raise(Exception::new(Vector::DeviceNotAvailable))
            }
            () => self.x87_fault(),
        }
    }
}
