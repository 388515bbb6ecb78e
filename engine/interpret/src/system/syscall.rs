//! SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM vol. 2; vol. 3, 5.8.7 and 5.8.8), as Intel's processors have
//! them: SYSCALL and SYSRET in 64-bit code only, SYSENTER and SYSEXIT everywhere in protected mode.

use iced_x86::{Code, Instruction};
use x86::control::{debug, efer};
use x86::paging::is_canonical;
use x86::{Gpr, Segment, SegmentRegister, access, flags};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::system::descriptor::RPL;

/// The flags that SYSRET loads: all but RF and VM.
const SYSRET_FLAGS: u64 = flags::ALL & !(flags::RF | flags::VM);

impl Cpu {
    /// Loads CS and SS with the flat segments of a fast system call, whatever the tables say.
    fn load_flat(&mut self, cs: u16, ss: u16, cpl: u8, size: u16) {
        let common = access::PRESENT | access::NOT_SYSTEM | access::ACCESSED | access::WRITABLE;
        let level = u16::from(cpl);
        let common = common | level << 5;
        let cs = cs & !RPL | level;
        let ss = ss & !RPL | level;
        *self.state.segment_mut(SegmentRegister::Cs) = Segment::flat(cs, common | access::CODE | size);
        *self.state.segment_mut(SegmentRegister::Ss) = Segment::flat(ss, common | access::DB);
    }
}

impl Cpu {
    /// May an engine on top execute SYSCALL and SYSRET itself, between flat 64-bit segments?
    pub(crate) fn fast_calls(&self) -> bool {
        self.mode.is_64() && self.state.msrs.efer & efer::SCE != 0 && is_canonical(self.state.msrs.lstar)
    }

    /// Loads CS and SS as SYSCALL or (`user`) 64-bit SYSRET does: an engine on top has executed one.
    pub(crate) fn after_fast_call(&mut self, user: bool) {
        let [cs, ss] = self.fast_call_selectors(user);
        self.load_flat(cs, ss, if user { 3 } else { 0 }, access::LONG);
        self.refresh();
    }

    /// The selectors of CS and SS after SYSCALL or (`user`) 64-bit SYSRET.
    pub(crate) fn fast_call_selectors(&self, user: bool) -> [u16; 2] {
        let star = self.state.msrs.star;
        let (base, level) = if user { ((star >> 48) as u16, 3) } else { ((star >> 32) as u16, 0) };
        let cs = if user { base.wrapping_add(16) } else { base };
        [cs, base.wrapping_add(8)].map(|selector| selector & !RPL | level)
    }
}

fn syscall(cpu: &mut Cpu, _: &Op) -> Step {
    if !cpu.mode.is_64() || cpu.state.msrs.efer & efer::SCE == 0 {
        return Err(cpu.ud());
    }
    let rflags = cpu.rflags() & !flags::RF;
    cpu.set(Gpr::Rcx, cpu.next());
    cpu.set(Gpr::R11, rflags);
    cpu.set_next(cpu.state.msrs.lstar);
    let cs = (cpu.state.msrs.star >> 32) as u16;
    cpu.load_flat(cs, cs.wrapping_add(8), 0, access::LONG);
    cpu.set_rflags(rflags & !cpu.state.msrs.sfmask);
    cpu.refresh();
    Ok(())
}

fn sysret(cpu: &mut Cpu, op: &Op) -> Step {
    if !cpu.mode.is_64() || cpu.state.msrs.efer & efer::SCE == 0 {
        return Err(cpu.ud());
    }
    cpu.require_supervisor()?;
    let rip = cpu.get(Gpr::Rcx);
    let base = (cpu.state.msrs.star >> 48) as u16;
    if op.code == Code::Sysretq as u16 {
        if !is_canonical(rip) {
            return Err(cpu.gp());
        }
        cpu.set_next(rip);
        cpu.load_flat(base.wrapping_add(16), base.wrapping_add(8), 3, access::LONG);
    } else {
        cpu.set_next(rip & 0xffff_ffff);
        cpu.load_flat(base, base.wrapping_add(8), 3, access::DB);
    }
    cpu.set_rflags(cpu.get(Gpr::R11) & SYSRET_FLAGS);
    // Unlike IRET, a SYSRET that sets TF traps at once.
    if cpu.state.rflags & flags::TF != 0 {
        cpu.debug_hits |= debug::DR6_BS;
    }
    cpu.refresh();
    Ok(())
}

fn sysenter(cpu: &mut Cpu, _: &Op) -> Step {
    let cs = cpu.state.msrs.sysenter_cs as u16;
    if !cpu.mode.protected || cs & !RPL == 0 {
        return Err(cpu.gp());
    }
    let mask = if cpu.mode.long { u64::MAX } else { 0xffff_ffff };
    cpu.set_next(cpu.state.msrs.sysenter_eip & mask);
    cpu.set(Gpr::Rsp, cpu.state.msrs.sysenter_esp & mask);
    let size = if cpu.mode.long { access::LONG } else { access::DB };
    cpu.load_flat(cs, cs.wrapping_add(8), 0, size);
    cpu.set_rflags(cpu.rflags() & !(flags::VM | flags::IF | flags::RF));
    cpu.refresh();
    Ok(())
}

fn sysexit(cpu: &mut Cpu, op: &Op) -> Step {
    let cs = cpu.state.msrs.sysenter_cs as u16;
    if !cpu.mode.protected || cs & !RPL == 0 {
        return Err(cpu.gp());
    }
    cpu.require_supervisor()?;
    let (rip, rsp) = (cpu.get(Gpr::Rdx), cpu.get(Gpr::Rcx));
    if op.code == Code::Sysexitq as u16 {
        if !is_canonical(rip) || !is_canonical(rsp) {
            return Err(cpu.gp());
        }
        cpu.set_next(rip);
        cpu.set(Gpr::Rsp, rsp);
        cpu.load_flat(cs.wrapping_add(32), cs.wrapping_add(40), 3, access::LONG);
    } else {
        cpu.set_next(rip & 0xffff_ffff);
        cpu.set(Gpr::Rsp, rsp & 0xffff_ffff);
        cpu.load_flat(cs.wrapping_add(16), cs.wrapping_add(24), 3, access::DB);
    }
    cpu.refresh();
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let exec: Exec = match instruction.code() {
        Code::Syscall => syscall,
        Code::Sysretd | Code::Sysretq => sysret,
        Code::Sysenter => sysenter,
        Code::Sysexitd | Code::Sysexitq => sysexit,
        _ => return None,
    };
    op.ends_block = true;
    Some(exec)
}
