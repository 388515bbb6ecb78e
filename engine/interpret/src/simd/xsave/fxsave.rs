//! FXSAVE and FXRSTOR (SDM vol. 2).

use iced_x86::{Code, Instruction};

use super::image::{Image, MXCSR, STACK, X87_CONTROL};
use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::simd::gate::Gate;
use crate::simd::mxcsr;
use crate::simd::x87::Registers;
use crate::walk::Access;

/// Bytes that the segment must have room for.
const SIZE: u64 = 512;

/// Bytes 0 to the last XMM register of the present mode; what lies behind is left alone.
fn fxsave<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    let linear = cpu.aligned(op, SIZE, 16, Access::Write)?;
    let mut image = Image::new(cpu, WIDE);
    image.fill(cpu);
    let piece = X87_CONTROL.start..image.xmm().end;
    image.write(cpu, linear, op.segment, &[piece])
}

fn fxrstor<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    let linear = cpu.aligned(op, SIZE, 16, Access::Read)?;
    let mut image = Image::new(cpu, WIDE);
    let xmm = image.xmm();
    image.read(cpu, linear, op.segment, &[X87_CONTROL, MXCSR, STACK, xmm])?;
    if image.mxcsr() & !mxcsr::ALL != 0 {
        return Err(cpu.gp());
    }
    let legacy = &mut cpu.state.fpu.legacy;
    legacy.take_x87(&image.x87());
    legacy.mxcsr = image.mxcsr();
    image.take_xmm(cpu);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Fxsave_m512byte => fxsave::<false>,
        Code::Fxsave64_m512byte => fxsave::<true>,
        Code::Fxrstor_m512byte => fxrstor::<false>,
        Code::Fxrstor64_m512byte => fxrstor::<true>,
        _ => return None,
    })
}
