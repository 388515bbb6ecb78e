//! The bases of FS and GS: SWAPGS, RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE. 64-bit code only.

use iced_x86::{Instruction, Mnemonic};
use x86::SegmentRegister;
use x86::control::cr4;
use x86::paging::is_canonical;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::width::Width;

fn swapgs(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.require_supervisor()?;
    let base = &mut cpu.state.segments[SegmentRegister::Gs as usize].base;
    std::mem::swap(base, &mut cpu.state.msrs.kernel_gs_base);
    Ok(())
}

fn require_enabled(cpu: &mut Cpu) -> Step {
    if cpu.state.cr4 & cr4::FSGSBASE == 0 { Err(cpu.ud()) } else { Ok(()) }
}

/// `extra` is the segment register.
fn read<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    require_enabled(cpu)?;
    let base = cpu.state.segments[op.extra as usize % 6].base;
    T::set(cpu, op.dst, T::from_u64(base));
    Ok(())
}

fn write<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    require_enabled(cpu)?;
    let base = T::get(cpu, op.dst).to_u64();
    if !is_canonical(base) {
        return Err(cpu.gp());
    }
    cpu.state.segments[op.extra as usize % 6].base = base;
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let wide = op.width == 8;
    let (register, exec): (_, Exec) = match instruction.mnemonic() {
        Mnemonic::Swapgs => (SegmentRegister::Gs, swapgs),
        Mnemonic::Rdfsbase => (SegmentRegister::Fs, if wide { read::<u64> } else { read::<u32> }),
        Mnemonic::Rdgsbase => (SegmentRegister::Gs, if wide { read::<u64> } else { read::<u32> }),
        Mnemonic::Wrfsbase => (SegmentRegister::Fs, if wide { write::<u64> } else { write::<u32> }),
        Mnemonic::Wrgsbase => (SegmentRegister::Gs, if wide { write::<u64> } else { write::<u32> }),
        _ => return None,
    };
    op.extra = register as u32;
    Some(exec)
}
