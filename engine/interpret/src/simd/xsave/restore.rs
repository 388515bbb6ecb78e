//! XRSTOR (SDM vol. 1, 13.8).

use iced_x86::{Code, CpuidFeature, Instruction};
use x86::xfeature::{AVX, SSE, X87};

use super::components::MXCSR_INITIAL;
use super::image::{HEADER, Image, MXCSR, STACK, X87_CONTROL, XCOMP_BV, XSTATE_BV};
use super::save::COMPACTED;
use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::{Raised, Step};
use crate::simd::mxcsr;
use crate::simd::x87::Registers;
use crate::system;
use crate::walk::Access;

fn xrstor<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.xsave_enabled()?;
    let mut image = Image::new(cpu, WIDE);
    let linear = cpu.aligned(op, image.ymm().end as u64, 64, Access::Read)?;
    image.read(cpu, linear, op.segment, &[HEADER])?;
    let compacted = check_header(cpu, &image)?;
    let requested = cpu.requested();
    let present = requested & image.word(XSTATE_BV.start);
    // The standard format has MXCSR apart from the components that use it, the compacted one within SSE.
    let with_mxcsr = if compacted { present & SSE != 0 } else { requested & (SSE | AVX) != 0 };
    let (xmm, ymm) = (image.xmm(), image.ymm());
    for (wanted, piece) in [
        (present & X87 != 0, X87_CONTROL),
        (with_mxcsr, MXCSR),
        (present & X87 != 0, STACK),
        (present & SSE != 0, xmm),
        (present & AVX != 0, ymm),
    ] {
        if wanted {
            image.read(cpu, linear, op.segment, &[piece])?;
        }
    }
    if with_mxcsr && image.mxcsr() & !mxcsr::ALL != 0 {
        return Err(cpu.gp());
    }
    // A component that is asked for but not present becomes initial: in the image it is zero as it stands.
    if requested & X87 != 0 {
        match present & X87 != 0 {
            true => cpu.state.fpu.legacy.take_x87(&image.x87()),
            false => cpu.state.fpu.legacy.clear_x87(),
        }
    }
    if with_mxcsr {
        cpu.state.fpu.legacy.mxcsr = image.mxcsr();
    } else if requested & SSE != 0 {
        cpu.state.fpu.legacy.mxcsr = MXCSR_INITIAL;
    }
    if requested & SSE != 0 {
        image.take_xmm(cpu);
    }
    if requested & AVX != 0 {
        image.take_ymm(cpu);
    }
    Ok(())
}

/// Is the format compacted? #GP if the header says what cannot be.
fn check_header(cpu: &mut Cpu, image: &Image) -> Result<bool, Raised> {
    let (xstate, xcomp) = (image.word(XSTATE_BV.start), image.word(XCOMP_BV.start));
    let zero = |from: usize, to: usize| image.bytes[HEADER][from..to].iter().all(|&byte| byte == 0);
    let compacted = xcomp & COMPACTED != 0;
    let enabled = cpu.state.xcr0;
    let good = match compacted {
        false => xstate & !enabled == 0 && zero(8, 24),
        true => {
            system::offers(&cpu.model, CpuidFeature::XSAVEC)
                && xcomp & !COMPACTED & !enabled == 0
                && xstate & !xcomp == 0
                && xstate & COMPACTED == 0
                && zero(16, 64)
        }
    };
    if good { Ok(compacted) } else { Err(cpu.gp()) }
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Xrstor_mem => xrstor::<false>,
        Code::Xrstor64_mem => xrstor::<true>,
        _ => return None,
    })
}
