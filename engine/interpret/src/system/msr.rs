//! Model-specific registers: RDMSR and WRMSR (SDM vol. 4). What the table below does not know raises #GP(0).

use iced_x86::{Instruction, Mnemonic};
use x86::control::{cr0, efer};
use x86::paging::{PHYSICAL_BITS, is_canonical};
use x86::{Gpr, SegmentRegister, msr};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::{Raised, Step};

/// Registers that read as a constant, and take only this very value.
mod fixed {
    pub const IA32_PLATFORM_ID: u32 = 0x17;
    pub const IA32_DEBUGCTL: u32 = 0x1d9;
    /// Locked, with everything off.
    pub const FEATURE_CONTROL: u64 = 1;
    /// Eight variable ranges, fixed ranges, write combining.
    pub const MTRRCAP: u64 = 0x508;
    /// A microcode revision of 1.
    pub const BIOS_SIGN_ID: u64 = 1 << 32;
}

/// IA32_ARCH_CAPABILITIES: an engine in software has none of the flaws that these bits deny.
const ARCH_CAPABILITIES: u64 = 1 << 0 // RDCL_NO
    | 1 << 1 // IBRS_ALL
    | 1 << 3 // SKIP_L1DFL_VMENTRY
    | 1 << 4 // SSB_NO
    | 1 << 5 // MDS_NO
    | 1 << 6 // IF_PSCHANGE_MC_NO
    | 1 << 8 // TAA_NO
    | 1 << 13 // SBDR_SSDP_NO
    | 1 << 14 // FBSDP_NO
    | 1 << 15 // PSDP_NO
    | 1 << 20 // BHI_NO
    | 1 << 24 // PBRSB_NO
    | 1 << 26 // GDS_NO
    | 1 << 27 // RFDS_NO
    | 1 << 62; // ITS_NO

const EFER_WRITABLE: u64 = efer::SCE | efer::LME | efer::NXE;
/// IBRS, STIBP, SSBD.
const SPEC_CTRL_WRITABLE: u64 = 7;
/// Type, fixed ranges on, MTRRs on.
const MTRR_DEF_TYPE_WRITABLE: u64 = 0xcff;
const MTRR_FIX16K_80000: u32 = 0x258;
const MTRR_FIX16K_A0000: u32 = 0x259;
const MTRR_FIX4K_C0000: u32 = 0x268;
const MTRR_FIX4K_F8000: u32 = 0x26f;

/// The value is not one that the register takes, or there is no such register.
struct Denied;

impl Cpu {
    fn read_msr(&mut self, index: u32) -> Result<u64, Denied> {
        let msrs = &self.state.msrs;
        Ok(match index {
            msr::IA32_TSC => self.tsc(),
            msr::IA32_TSC_ADJUST => msrs.tsc_adjust,
            msr::IA32_TSC_DEADLINE => match self.board.msr_read(index).map_err(|_| Denied)? {
                0 => 0,
                deadline => deadline.wrapping_add(msrs.tsc_adjust),
            },
            msr::IA32_APIC_BASE | msr::X2APIC_FIRST..=msr::X2APIC_LAST => {
                self.board.msr_read(index).map_err(|_| Denied)?
            }
            msr::EFER => msrs.efer,
            msr::STAR => msrs.star,
            msr::LSTAR => msrs.lstar,
            msr::CSTAR => msrs.cstar,
            msr::SFMASK => msrs.sfmask,
            msr::FS_BASE => self.state.segment(SegmentRegister::Fs).base,
            msr::GS_BASE => self.state.segment(SegmentRegister::Gs).base,
            msr::KERNEL_GS_BASE => msrs.kernel_gs_base,
            msr::TSC_AUX => msrs.tsc_aux,
            msr::IA32_SYSENTER_CS => msrs.sysenter_cs,
            msr::IA32_SYSENTER_ESP => msrs.sysenter_esp,
            msr::IA32_SYSENTER_EIP => msrs.sysenter_eip,
            msr::IA32_PAT => msrs.pat,
            msr::IA32_MISC_ENABLE => msrs.misc_enable,
            msr::IA32_SPEC_CTRL => msrs.spec_ctrl,
            msr::IA32_MTRR_DEF_TYPE => msrs.mtrr_def_type,
            _ => match mtrr_slot(index) {
                Some(Slot::Fixed(n)) => msrs.mtrr_fixed[n],
                Some(Slot::Variable(n)) => msrs.mtrr_variable[n],
                None => constant(index).ok_or(Denied)?,
            },
        })
    }

    fn write_msr(&mut self, index: u32, value: u64) -> Result<(), Denied> {
        let msrs = &mut self.state.msrs;
        let place = match index {
            msr::IA32_TSC => {
                let adjust = value.wrapping_sub(self.board.tsc());
                return self.set_tsc_adjust(adjust);
            }
            msr::IA32_TSC_ADJUST => return self.set_tsc_adjust(value),
            msr::IA32_TSC_DEADLINE => return self.set_deadline(value),
            msr::IA32_APIC_BASE | msr::X2APIC_FIRST..=msr::X2APIC_LAST => {
                self.interrupt_wanted = true;
                self.leave = true;
                return self.board.msr_write(index, value).map_err(|_| Denied);
            }
            msr::EFER => return self.set_efer(value),
            msr::FS_BASE if is_canonical(value) => &mut self.state.segment_mut(SegmentRegister::Fs).base,
            msr::GS_BASE if is_canonical(value) => &mut self.state.segment_mut(SegmentRegister::Gs).base,
            msr::KERNEL_GS_BASE if is_canonical(value) => &mut msrs.kernel_gs_base,
            msr::STAR => &mut msrs.star,
            msr::LSTAR if is_canonical(value) => &mut msrs.lstar,
            msr::CSTAR if is_canonical(value) => &mut msrs.cstar,
            msr::SFMASK if value >> 32 == 0 => &mut msrs.sfmask,
            msr::TSC_AUX if value >> 32 == 0 => &mut msrs.tsc_aux,
            msr::IA32_SYSENTER_CS => &mut msrs.sysenter_cs,
            msr::IA32_SYSENTER_ESP if is_canonical(value) => &mut msrs.sysenter_esp,
            msr::IA32_SYSENTER_EIP if is_canonical(value) => &mut msrs.sysenter_eip,
            msr::IA32_PAT if value.to_le_bytes().into_iter().all(is_pat_type) => &mut msrs.pat,
            msr::IA32_MISC_ENABLE if value & !1 == 0 => &mut msrs.misc_enable,
            msr::IA32_SPEC_CTRL if value & !SPEC_CTRL_WRITABLE == 0 => &mut msrs.spec_ctrl,
            // The barrier flushes predictors; we have none.
            msr::IA32_PRED_CMD if value & !1 == 0 => return Ok(()),
            // Software clears it before it asks CPUID for the revision.
            msr::IA32_BIOS_SIGN_ID => return Ok(()),
            msr::IA32_MTRR_DEF_TYPE
                if value & !MTRR_DEF_TYPE_WRITABLE == 0 && is_memory_type(value as u8) =>
            {
                &mut msrs.mtrr_def_type
            }
            _ => match mtrr_slot(index) {
                Some(Slot::Fixed(n)) if value.to_le_bytes().into_iter().all(is_memory_type) => {
                    &mut msrs.mtrr_fixed[n]
                }
                Some(Slot::Variable(n)) if is_range(n, value) => &mut msrs.mtrr_variable[n],
                None if constant(index) == Some(value) => return Ok(()),
                _ => return Err(Denied),
            },
        };
        *place = value;
        Ok(())
    }

    fn set_efer(&mut self, value: u64) -> Result<(), Denied> {
        let old = self.state.msrs.efer;
        let changed = (old ^ value) & EFER_WRITABLE;
        // LMA is the CPU's; writes do not reach it.
        let unknown = value & !(EFER_WRITABLE | efer::LMA) != 0;
        if unknown || changed & efer::LME != 0 && self.state.cr0 & cr0::PG != 0 {
            return Err(Denied);
        }
        self.state.msrs.efer = old & efer::LMA | value & EFER_WRITABLE;
        if changed & efer::NXE != 0 {
            self.tlb.flush_all();
        }
        self.refresh();
        Ok(())
    }

    /// The board counts in its own time; a deadline of ours is that much earlier there.
    fn set_deadline(&mut self, value: u64) -> Result<(), Denied> {
        let deadline = match value {
            0 => 0,
            // Zero would disarm: a deadline long past is as good.
            value => value.wrapping_sub(self.state.msrs.tsc_adjust).max(1),
        };
        self.interrupt_wanted = true;
        self.leave = true;
        self.board.msr_write(msr::IA32_TSC_DEADLINE, deadline).map_err(|_| Denied)
    }

    /// A deadline that is set stays the same on the guest's clock.
    fn set_tsc_adjust(&mut self, value: u64) -> Result<(), Denied> {
        let deadline = self.read_msr(msr::IA32_TSC_DEADLINE).unwrap_or(0);
        self.state.msrs.tsc_adjust = value;
        if deadline != 0 { self.set_deadline(deadline) } else { Ok(()) }
    }
}

fn constant(index: u32) -> Option<u64> {
    Some(match index {
        msr::IA32_ARCH_CAPABILITIES => ARCH_CAPABILITIES,
        msr::IA32_FEATURE_CONTROL => fixed::FEATURE_CONTROL,
        msr::IA32_MTRRCAP => fixed::MTRRCAP,
        msr::IA32_BIOS_SIGN_ID => fixed::BIOS_SIGN_ID,
        // No machine-check banks, no branch records, no supervisor state components.
        msr::IA32_MCG_CAP | msr::IA32_MCG_STATUS | fixed::IA32_DEBUGCTL | fixed::IA32_PLATFORM_ID => 0,
        _ => return None,
    })
}

enum Slot {
    Fixed(usize),
    Variable(usize),
}

/// Where a memory-type range register is kept.
fn mtrr_slot(index: u32) -> Option<Slot> {
    Some(match index {
        msr::IA32_MTRR_FIX64K_00000 => Slot::Fixed(0),
        MTRR_FIX16K_80000 | MTRR_FIX16K_A0000 => Slot::Fixed(1 + (index - MTRR_FIX16K_80000) as usize),
        MTRR_FIX4K_C0000..=MTRR_FIX4K_F8000 => Slot::Fixed(3 + (index - MTRR_FIX4K_C0000) as usize),
        _ => match index.checked_sub(msr::IA32_MTRR_PHYSBASE0) {
            Some(n @ 0..16) => Slot::Variable(n as usize),
            _ => return None,
        },
    })
}

/// UC, WC, WT, WP, WB.
fn is_memory_type(kind: u8) -> bool {
    matches!(kind, 0 | 1 | 4 | 5 | 6)
}

/// The same and UC−.
fn is_pat_type(kind: u8) -> bool {
    is_memory_type(kind) || kind == 7
}

/// May a variable range register hold this? Even ones are bases with a type, odd ones masks.
fn is_range(n: usize, value: u64) -> bool {
    let (reserved, kind) = if n.is_multiple_of(2) { (0xf00, value as u8) } else { (0x7ff, 0) };
    value >> PHYSICAL_BITS == 0 && value & reserved == 0 && is_memory_type(kind)
}

fn index(cpu: &mut Cpu) -> Result<u32, Raised> {
    cpu.require_supervisor()?;
    Ok(cpu.get(Gpr::Rcx) as u32)
}

fn rdmsr(cpu: &mut Cpu, _: &Op) -> Step {
    let index = index(cpu)?;
    match cpu.read_msr(index) {
        Ok(value) => cpu.set_pair(value),
        Err(Denied) => {
            tracing::debug!(target: "ringfence::msr", "no such register to read: {index:#x}");
            return Err(cpu.gp());
        }
    }
    Ok(())
}

fn wrmsr(cpu: &mut Cpu, _: &Op) -> Step {
    let index = index(cpu)?;
    let value = cpu.get(Gpr::Rax) & 0xffff_ffff | cpu.get(Gpr::Rdx) << 32;
    if let Err(Denied) = cpu.write_msr(index, value) {
        tracing::debug!(target: "ringfence::msr", "refused to write {value:#x} to {index:#x}");
        return Err(cpu.gp());
    }
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Rdmsr => Some(rdmsr),
        Mnemonic::Wrmsr => {
            op.ends_block = true;
            Some(wrmsr)
        }
        _ => None,
    }
}
