//! The time-stamp counter and the processor's number: RDTSC, RDTSCP, RDPMC, RDPID.

use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;
use x86::control::cr4;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;

impl Cpu {
    /// The guest's time-stamp counter: one tick a virtual nanosecond.
    pub fn tsc(&self) -> u64 {
        self.board.tsc().wrapping_add(self.state.msrs.tsc_adjust)
    }

    /// Leaves 64 bits in EDX:EAX.
    pub fn set_pair(&mut self, value: u64) {
        self.set(Gpr::Rax, value & 0xffff_ffff);
        self.set(Gpr::Rdx, value >> 32);
    }
}

fn rdtsc(cpu: &mut Cpu, _: &Op) -> Step {
    if cpu.mode.cpl > 0 && cpu.state.cr4 & cr4::TSD != 0 {
        return Err(cpu.gp());
    }
    let tsc = cpu.tsc();
    cpu.set_pair(tsc);
    Ok(())
}

fn rdtscp(cpu: &mut Cpu, op: &Op) -> Step {
    rdtsc(cpu, op)?;
    cpu.set(Gpr::Rcx, cpu.state.msrs.tsc_aux);
    Ok(())
}

/// There are no performance counters.
fn rdpmc(cpu: &mut Cpu, _: &Op) -> Step {
    Err(cpu.gp())
}

fn rdpid(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.gpr[usize::from(op.dst & 15)] = cpu.state.msrs.tsc_aux;
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    Some(match instruction.mnemonic() {
        Mnemonic::Rdtsc => rdtsc,
        Mnemonic::Rdtscp => rdtscp,
        Mnemonic::Rdpmc => rdpmc,
        Mnemonic::Rdpid => rdpid,
        _ => return None,
    })
}
