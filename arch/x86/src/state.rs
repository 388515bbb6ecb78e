//! The complete, engine-neutral state of one virtual CPU: what snapshots store and what crosses engines.

use serde::{Deserialize, Serialize};

use crate::control::{cr0, debug};
use crate::exception::Exception;
use crate::flags;
use crate::fpu::Fpu;
use crate::register::{Gpr, SegmentRegister};
use crate::segment::{Segment, TableRegister, access};

/// Everything a virtual CPU is, except its local APIC, which is a chip of the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuState {
    /// General registers by [`Gpr`] number.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags; bit 1 is always set.
    pub rflags: u64,
    /// Segment registers by [`SegmentRegister`] number.
    pub segments: [Segment; 6],
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// Control register 0.
    pub cr0: u64,
    /// Page-fault address.
    pub cr2: u64,
    /// Page-table root and PCID.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// Extended control register 0: the state components in use.
    pub xcr0: u64,
    /// The four PDPTEs that CR3 loads under PAE paging (SDM vol. 3, 4.4.1).
    pub pdpte: [u64; 4],
    /// Breakpoint addresses DR0 to DR3.
    pub dr: [u64; 4],
    /// Debug status.
    pub dr6: u64,
    /// Debug control.
    pub dr7: u64,
    /// Model-specific registers that belong to the CPU.
    pub msrs: Msrs,
    /// x87, SSE and AVX.
    pub fpu: Fpu,
    /// What is pending between two instructions.
    pub events: Events,
}

/// Model-specific registers that belong to the CPU rather than the board.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)] // the manual's own names, see `crate::msr`
pub struct Msrs {
    pub efer: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub pat: u64,
    pub misc_enable: u64,
    pub tsc_aux: u64,
    pub spec_ctrl: u64,
    /// IA32_TSC_ADJUST: moves together with what is written to IA32_TSC.
    pub tsc_adjust: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_variable: [u64; 16],
}

/// What is pending between two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Events {
    /// Does the instruction just executed hold off interrupts for one more?
    pub shadow: Shadow,
    /// An NMI waits.
    pub nmi_pending: bool,
    /// NMIs are held until IRET.
    pub nmi_blocked: bool,
    /// An exception to deliver before the next instruction: set by whoever loads the state.
    pub exception: Option<Exception>,
    /// What the CPU does.
    pub activity: Activity,
}

/// The one-instruction interrupt shadows (SDM vol. 3, 6.8.3; STI).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Shadow {
    /// None.
    #[default]
    None,
    /// After STI: maskable interrupts wait.
    Sti,
    /// After MOV SS or POP SS: interrupts, NMIs and debug traps wait.
    MovSs,
}

/// What the CPU does (SDM vol. 3, 25.4.2 has the same list).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Activity {
    /// Executes instructions.
    #[default]
    Running,
    /// After HLT.
    Halted,
    /// After a triple fault.
    Shutdown,
    /// An application processor before its start-up IPI.
    WaitForSipi,
}

impl Default for CpuState {
    /// The state after power-up or reset (SDM vol. 3, table 10-1): real mode at F000:FFF0.
    fn default() -> Self {
        let data = Segment::real(0);
        let mut cs = Segment::real(0xf000);
        cs.base = 0xffff_0000;
        cs.access |= access::CODE;
        let system =
            |kind: u16| Segment { limit: 0xffff, access: access::PRESENT | kind, ..Segment::default() };
        Self {
            gpr: [0; 16],
            rip: 0xfff0,
            rflags: flags::RESERVED_ONE,
            segments: [data, cs, data, data, data, data],
            ldtr: system(0x2),
            tr: system(0xb),
            gdtr: TableRegister { base: 0, limit: 0xffff },
            idtr: TableRegister { base: 0, limit: 0xffff },
            cr0: cr0::CD | cr0::NW | cr0::ET,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            xcr0: 1,
            pdpte: [0; 4],
            dr: [0; 4],
            dr6: debug::DR6_FIXED,
            dr7: debug::DR7_FIXED,
            msrs: Msrs { pat: 0x0007_0406_0007_0406, misc_enable: 1, ..Msrs::default() },
            fpu: Fpu::default(),
            events: Events::default(),
        }
    }
}

impl CpuState {
    /// A general register.
    #[inline(always)]
    pub fn get(&self, register: Gpr) -> u64 {
        self.gpr[register as usize]
    }

    /// Sets a general register.
    #[inline(always)]
    pub fn set(&mut self, register: Gpr, value: u64) {
        self.gpr[register as usize] = value;
    }

    /// A segment register.
    #[inline(always)]
    pub fn segment(&self, register: SegmentRegister) -> &Segment {
        &self.segments[register as usize]
    }

    /// A segment register to change.
    #[inline(always)]
    pub fn segment_mut(&mut self, register: SegmentRegister) -> &mut Segment {
        &mut self.segments[register as usize]
    }

    /// Current privilege level: the DPL of SS (SDM vol. 3, 5.5; kept so by every load of CS and SS).
    #[inline(always)]
    pub fn cpl(&self) -> u8 {
        self.segments[SegmentRegister::Ss as usize].dpl()
    }

    /// Leaves the registers as a start-up IPI with this vector does (SDM vol. 3, 9.4.4), after INIT.
    pub fn start_up(&mut self, vector: u8) {
        self.rip = 0;
        *self.segment_mut(SegmentRegister::Cs) = Segment {
            access: Segment::real(0).access | access::CODE,
            ..Segment::real(u16::from(vector) << 8)
        };
        self.events.activity = Activity::Running;
    }

    /// Leaves the registers as INIT does (SDM vol. 3, table 10-1): as after reset, but the caches, the FPU
    /// and most MSRs keep what they hold.
    pub fn init(&mut self, bootstrap: bool) {
        let fresh = Self::default();
        *self = Self {
            fpu: self.fpu,
            xcr0: self.xcr0,
            msrs: Msrs { efer: 0, kernel_gs_base: 0, ..self.msrs.clone() },
            cr0: fresh.cr0 & !(cr0::CD | cr0::NW) | self.cr0 & (cr0::CD | cr0::NW),
            ..fresh
        };
        if !bootstrap {
            self.events.activity = Activity::WaitForSipi;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_up_ipi_starts_at_the_page_it_names() {
        let mut state = CpuState::default();
        state.msrs.efer = 0x500;
        state.init(false);
        assert_eq!(state.events.activity, Activity::WaitForSipi);
        assert_eq!(state.msrs.efer, 0);
        state.start_up(0x9f);
        assert_eq!((state.segment(SegmentRegister::Cs).base, state.rip), (0x9f000, 0));
        assert_eq!(state.events.activity, Activity::Running);
    }
}
