//! Control registers: MOV CR, LMSW, SMSW, CLTS (SDM vol. 3, 2.5; vol. 2, MOV—Move to/from Control Registers).
//!
//! What each change does to cached translations (SDM vol. 3, 4.10.4.1):
//!
//! | write | forgets |
//! |---|---|
//! | CR0: PG, WP or PE changes | all |
//! | CR3 | what is not global; with PCIDs only the new PCID's, and under bit 63 nothing |
//! | CR4: PSE, PAE, PGE, PCIDE, SMEP or SMAP changes | all |

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use x86::control::{cr0, cr4, efer};
use x86::paging::PHYSICAL_BITS;
use x86::{SegmentRegister, access};

use base::GuestPhys;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::system::feature;
use crate::system::table::{put_word, word};
use crate::width::Width;

/// CR3: do not flush (under CR4.PCIDE).
const NO_FLUSH: u64 = 1 << 63;
/// CR3: the PCID.
const PCID: u64 = 0xfff;
/// Reserved bits of a PDPTE under PAE paging (SDM vol. 3, table 4-8).
const PDPTE_RESERVED: u64 = !((1 << PHYSICAL_BITS) - 1) | 0x1e6;

impl Cpu {
    /// Writes CR0.
    ///
    /// # Errors
    /// #GP(0) for combinations that do not exist; #GP(0) for bad PDPTEs.
    pub fn set_cr0(&mut self, value: u64) -> Step {
        if value >> 32 != 0 {
            return Err(self.gp());
        }
        let value = value & cr0::ALL | cr0::ET;
        let (pe, pg) = (value & cr0::PE != 0, value & cr0::PG != 0);
        if pg && !pe || value & cr0::NW != 0 && value & cr0::CD == 0 {
            return Err(self.gp());
        }
        let changed = self.state.cr0 ^ value;
        let long_code = self.state.segment(SegmentRegister::Cs).access & access::LONG != 0;
        let mut lma = self.state.msrs.efer & efer::LMA;
        if changed & cr0::PG != 0 {
            if pg && self.state.msrs.efer & efer::LME != 0 {
                if self.state.cr4 & cr4::PAE == 0 || long_code || !self.has_wide_tss() {
                    return Err(self.gp());
                }
                lma = efer::LMA;
            } else if pg {
                if self.state.cr4 & cr4::PAE != 0 {
                    self.load_pdptes(self.state.cr3)?;
                }
            } else {
                if self.state.cr4 & cr4::PCIDE != 0 || lma != 0 && long_code {
                    return Err(self.gp());
                }
                lma = 0;
            }
        }
        self.state.msrs.efer = self.state.msrs.efer & !efer::LMA | lma;
        self.state.cr0 = value;
        if changed & (cr0::PG | cr0::WP | cr0::PE) != 0 {
            self.tlb.flush_all();
        }
        self.refresh();
        Ok(())
    }

    /// Writes CR3.
    ///
    /// # Errors
    /// #GP(0) for reserved bits, in it or in the PDPTEs.
    pub fn set_cr3(&mut self, value: u64) -> Step {
        let pcids = self.state.cr4 & cr4::PCIDE != 0;
        let keep = pcids && value & NO_FLUSH != 0;
        let value = if pcids { value & !NO_FLUSH } else { value };
        if value >> PHYSICAL_BITS != 0 {
            return Err(self.gp());
        }
        if self.state.cr0 & cr0::PG != 0 && !self.mode.long && self.state.cr4 & cr4::PAE != 0 {
            self.load_pdptes(value)?;
        }
        self.state.cr3 = value;
        match () {
            () if keep => {}
            () if pcids => self.tlb.flush_pcid(value & PCID),
            () => self.tlb.flush_not_global(),
        }
        self.refresh();
        Ok(())
    }

    /// Writes CR4.
    ///
    /// # Errors
    /// #GP(0) for bits of features that the CPU model lacks and combinations that do not exist.
    pub fn set_cr4(&mut self, value: u64) -> Step {
        let changed = self.state.cr4 ^ value;
        let rises = |bit: u64| changed & value & bit != 0;
        let long = self.mode.long;
        if value & !feature::cr4_bits(&self.model) != 0
            || long && value & cr4::PAE == 0
            || rises(cr4::PCIDE) && (!long || self.state.cr3 & PCID != 0)
        {
            return Err(self.gp());
        }
        let paging = cr4::PSE | cr4::PAE | cr4::PGE | cr4::SMEP;
        let pae = self.state.cr0 & cr0::PG != 0 && !long && value & cr4::PAE != 0;
        if pae && changed & paging != 0 {
            self.load_pdptes(self.state.cr3)?;
        }
        self.state.cr4 = value;
        if changed & (paging | cr4::SMAP | cr4::PCIDE) != 0 {
            self.tlb.flush_all();
        }
        self.refresh();
        Ok(())
    }

    /// Loads the four PDPTEs that stand at `cr3` (SDM vol. 3, 4.4.1). What lies outside RAM is not present.
    fn load_pdptes(&mut self, cr3: u64) -> Step {
        let table = GuestPhys(cr3 & 0xffff_ffe0);
        let load = |n: u64| self.memory.ram(table.plus(8 * n)).map_or(0, |at| self.memory.load::<u64>(at));
        let pdptes = [load(0), load(1), load(2), load(3)];
        if pdptes.iter().any(|pdpte| pdpte & 1 != 0 && pdpte & PDPTE_RESERVED != 0) {
            return Err(self.gp());
        }
        self.state.pdpte = pdptes;
        Ok(())
    }
}

/// To CRn; `dst` is its number.
fn write(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_supervisor()?;
    let value = if cpu.mode.is_64() { u64::get(cpu, op.src) } else { u64::from(u32::get(cpu, op.src)) };
    match op.dst {
        0 => cpu.set_cr0(value),
        2 => {
            cpu.state.cr2 = value;
            Ok(())
        }
        3 => cpu.set_cr3(value),
        4 => cpu.set_cr4(value),
        8 if value >> 4 == 0 => {
            cpu.board.set_task_priority(value as u8);
            cpu.interrupt_wanted = true;
            cpu.leave = true;
            Ok(())
        }
        _ => Err(cpu.gp()),
    }
}

/// From CRn; `src` is its number.
fn read(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_supervisor()?;
    let value = match op.src {
        0 => cpu.state.cr0,
        2 => cpu.state.cr2,
        3 => cpu.state.cr3,
        4 => cpu.state.cr4,
        _ => u64::from(cpu.board.task_priority() & 0xf),
    };
    if cpu.mode.is_64() {
        u64::set(cpu, op.dst, value);
    } else {
        u32::set(cpu, op.dst, value as u32);
    }
    Ok(())
}

/// Loads PE, MP, EM and TS; PE can be set but not cleared.
fn lmsw(cpu: &mut Cpu, op: &Op) -> Step {
    const LOW: u64 = cr0::PE | cr0::MP | cr0::EM | cr0::TS;
    cpu.require_supervisor()?;
    let value = u64::from(word(cpu, op)?) & LOW | cpu.state.cr0 & cr0::PE;
    cpu.set_cr0(cpu.state.cr0 & !LOW | value)
}

fn smsw(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_visible()?;
    put_word(cpu, op, cpu.state.cr0)
}

fn clts(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.require_supervisor()?;
    cpu.state.cr0 &= !cr0::TS;
    Ok(())
}

/// Can MOV reach it? Others raise #UD, at any privilege.
fn exists(register: Register) -> bool {
    matches!(register, Register::CR0 | Register::CR2 | Register::CR3 | Register::CR4 | Register::CR8)
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let is_control =
        |n: u32| instruction.op_kind(n) == OpKind::Register && instruction.op_register(n).is_cr();
    Some(match instruction.mnemonic() {
        Mnemonic::Mov if is_control(0) && exists(instruction.op0_register()) => {
            op.ends_block = true;
            write
        }
        Mnemonic::Mov if is_control(1) && exists(instruction.op1_register()) => read,
        Mnemonic::Lmsw => {
            op.ends_block = true;
            lmsw
        }
        Mnemonic::Smsw => smsw,
        Mnemonic::Clts => clts,
        _ => return None,
    })
}
