//! XGETBV and XSETBV: the extended control registers (SDM vol. 1, 13.3; vol. 3, 2.6).

use iced_x86::{Code, CpuidFeature, Instruction};
use x86::{Gpr, xfeature};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::system;

/// XCR0, or with ECX = 1 (which comes with XSAVEC here) those of its components that are in use.
fn xgetbv(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.osxsave()?;
    let value = match cpu.get(Gpr::Rcx) as u32 {
        0 => cpu.state.xcr0,
        1 if system::offers(&cpu.model, CpuidFeature::XSAVEC) => cpu.state.xcr0 & cpu.in_use(),
        _ => return Err(cpu.gp()),
    };
    cpu.set(Gpr::Rax, value & 0xffff_ffff);
    cpu.set(Gpr::Rdx, value >> 32);
    Ok(())
}

fn xsetbv(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.osxsave()?;
    let value = cpu.get(Gpr::Rdx) << 32 | cpu.get(Gpr::Rax) & 0xffff_ffff;
    let avx_alone = value & xfeature::AVX != 0 && value & xfeature::SSE == 0;
    if cpu.mode.cpl != 0
        || cpu.get(Gpr::Rcx) as u32 != 0
        || value & !cpu.components() != 0
        || value & xfeature::X87 == 0
        || avx_alone
    {
        return Err(cpu.gp());
    }
    cpu.state.xcr0 = value;
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Xgetbv => xgetbv,
        Code::Xsetbv => xsetbv,
        _ => return None,
    })
}
