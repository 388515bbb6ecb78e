//! Flags that are privileged: CLI, STI, CLAC, STAC.

use iced_x86::{Instruction, Mnemonic};
use x86::{Shadow, flags};

use crate::cpu::Cpu;
use crate::mode::Mode;
use crate::op::{Exec, Op};
use crate::raised::Step;

impl Cpu {
    /// #GP(0) unless CPL ≤ IOPL.
    fn require_iopl(&mut self) -> Step {
        let iopl = (self.state.rflags & flags::IOPL) >> 12;
        if u64::from(self.mode.cpl) <= iopl { Ok(()) } else { Err(self.gp()) }
    }
}

fn cli(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.require_iopl()?;
    cpu.state.rflags &= !flags::IF;
    Ok(())
}

/// Interrupts wait for one more instruction, so that `sti; hlt` and `sti; ret` are whole.
fn sti(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.require_iopl()?;
    if cpu.state.rflags & flags::IF == 0 {
        cpu.state.rflags |= flags::IF;
        cpu.state.events.shadow = Shadow::Sti;
        cpu.leave = true;
    }
    Ok(())
}

/// The override of SMAP. It bears on data only, so the block goes on; most calls find it as it should be.
fn set_ac(cpu: &mut Cpu, value: u64) -> Step {
    if cpu.mode.cpl > 0 {
        return Err(cpu.ud());
    }
    if cpu.state.rflags & flags::AC != value {
        cpu.state.rflags ^= flags::AC;
        cpu.mode = Mode::of(&cpu.state);
    }
    Ok(())
}

fn clac(cpu: &mut Cpu, _: &Op) -> Step {
    set_ac(cpu, 0)
}

fn stac(cpu: &mut Cpu, _: &Op) -> Step {
    set_ac(cpu, flags::AC)
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    Some(match instruction.mnemonic() {
        Mnemonic::Cli => cli,
        Mnemonic::Sti => {
            op.ends_block = true;
            sti
        }
        Mnemonic::Clac => clac,
        Mnemonic::Stac => stac,
        _ => return None,
    })
}
