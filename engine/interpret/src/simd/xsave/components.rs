//! State components: which exist, which are asked for, which are in use (SDM vol. 1, 13.1 and 13.6).

use iced_x86::CpuidFeature;
use x86::control::{cr0, cr4};
use x86::{Exception, Gpr, Vector, xfeature};

use crate::cpu::Cpu;
use crate::raised::Step;
use crate::system;

/// MXCSR after reset.
pub(super) const MXCSR_INITIAL: u32 = 0x1f80;

impl Cpu {
    /// The components that XCR0 may enable.
    pub(super) fn components(&self) -> u64 {
        let avx = system::offers(&self.model, CpuidFeature::AVX);
        xfeature::X87 | xfeature::SSE | if avx { xfeature::AVX } else { 0 }
    }

    /// RFBM: those enabled that EDX:EAX asks for.
    pub(super) fn requested(&self) -> u64 {
        let mask = self.get(Gpr::Rdx) << 32 | self.get(Gpr::Rax) & 0xffff_ffff;
        mask & self.state.xcr0
    }

    /// XINUSE: those that are not in their initial state. MXCSR is no part of it.
    pub(super) fn in_use(&self) -> u64 {
        let (fpu, initial) = (&self.state.fpu, x86::Fpu::default().legacy);
        let legacy = &fpu.legacy;
        let x87 = (legacy.fcw, legacy.fsw, legacy.ftw, legacy.fop, legacy.fip, legacy.fdp, legacy.st)
            != (initial.fcw, 0, 0, 0, 0, 0, [0; 8]);
        let sse = legacy.xmm.iter().any(|&register| register != 0);
        let avx = fpu.ymm_high.iter().any(|&register| register != 0);
        [(x87, xfeature::X87), (sse, xfeature::SSE), (avx, xfeature::AVX)]
            .into_iter()
            .filter_map(|(used, bit)| used.then_some(bit))
            .fold(0, |all, bit| all | bit)
    }

    /// What all instructions of the XSAVE family need: CR4.OSXSAVE, or #UD.
    pub(super) fn osxsave(&mut self) -> Step {
        if self.state.cr4 & cr4::OSXSAVE == 0 {
            return Err(self.ud());
        }
        Ok(())
    }

    /// What those that move state need as well: no CR0.TS, or #NM.
    pub(super) fn xsave_enabled(&mut self) -> Step {
        self.osxsave()?;
        if self.state.cr0 & cr0::TS != 0 {
            return Err(self.raise(Exception::new(Vector::DeviceNotAvailable)));
        }
        Ok(())
    }
}
