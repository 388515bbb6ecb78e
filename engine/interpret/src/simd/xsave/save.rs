//! XSAVE, XSAVEOPT and XSAVEC (SDM vol. 1, 13.7, 13.9 and 13.10).
//!
//! XSAVEOPT and XSAVEC leave out components in their initial state. They might leave out unmodified ones, too
//! (the modified optimization), but need not.

use std::ops::Range;

use iced_x86::{Code, Instruction};
use x86::xfeature::{AVX, SSE, X87};

use super::components::MXCSR_INITIAL;
use super::image::{Image, MXCSR, STACK, X87_CONTROL, XCOMP_BV, XSTATE_BV};
use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::walk::Access;

/// XCOMP_BV: the format is compacted.
pub(super) const COMPACTED: u64 = 1 << 63;

const NOTHING: Range<usize> = 0..0;

/// XSAVE, and with `OPTIMIZED` XSAVEOPT.
fn xsave<const OPTIMIZED: bool, const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.xsave_enabled()?;
    let mut image = Image::new(cpu, WIDE);
    let linear = cpu.aligned(op, image.ymm().end as u64, 64, Access::Write)?;
    let (requested, in_use) = (cpu.requested(), cpu.in_use());
    let stored = if OPTIMIZED { requested & in_use } else { requested };
    // XSTATE_BV keeps the bits of components that were not asked for. A fault there is a write's.
    Image::prove(cpu, linear, op.segment, &[XSTATE_BV])?;
    image.read(cpu, linear, op.segment, &[XSTATE_BV])?;
    let present = image.word(XSTATE_BV.start) & !requested | requested & in_use;
    image.fill(cpu);
    image.bytes[XSTATE_BV].copy_from_slice(&present.to_le_bytes());
    let mxcsr = requested & (SSE | AVX) != 0;
    let pieces = pieces(&image, stored, mxcsr, XSTATE_BV);
    image.write(cpu, linear, op.segment, &pieces)
}

/// XSAVEC: the compacted format. MXCSR belongs to SSE and keeps it from being in its initial state.
fn xsavec<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.xsave_enabled()?;
    let mut image = Image::new(cpu, WIDE);
    let linear = cpu.aligned(op, image.ymm().end as u64, 64, Access::Write)?;
    let requested = cpu.requested();
    let mxcsr = if cpu.state.fpu.legacy.mxcsr == MXCSR_INITIAL { 0 } else { SSE };
    let present = requested & (cpu.in_use() | mxcsr);
    image.fill(cpu);
    image.bytes[XSTATE_BV].copy_from_slice(&present.to_le_bytes());
    image.bytes[XCOMP_BV].copy_from_slice(&(requested | COMPACTED).to_le_bytes());
    let pieces = pieces(&image, present, present & SSE != 0, XSTATE_BV.start..XCOMP_BV.end);
    image.write(cpu, linear, op.segment, &pieces)
}

/// The pieces of the image that hold these components, MXCSR, and this part of the header.
fn pieces(image: &Image, components: u64, mxcsr: bool, header: Range<usize>) -> [Range<usize>; 6] {
    let part = |wanted: bool, piece: Range<usize>| if wanted { piece } else { NOTHING };
    [
        part(components & X87 != 0, X87_CONTROL),
        part(mxcsr, MXCSR),
        part(components & X87 != 0, STACK),
        part(components & SSE != 0, image.xmm()),
        header,
        part(components & AVX != 0, image.ymm()),
    ]
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Xsave_mem => xsave::<false, false>,
        Code::Xsave64_mem => xsave::<false, true>,
        Code::Xsaveopt_mem => xsave::<true, false>,
        Code::Xsaveopt64_mem => xsave::<true, true>,
        Code::Xsavec_mem => xsavec::<false>,
        Code::Xsavec64_mem => xsavec::<true>,
        _ => return None,
    })
}
