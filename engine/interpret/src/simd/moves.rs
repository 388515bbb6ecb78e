//! Moves and the clearing of a register, done here instead of by a stub: the instructions that systems and
//! C libraries use most.

use base::Scalar;
use iced_x86::{Code, Instruction};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::simd::gate::Gate;
use crate::simd::operand::{from_bytes, to_bytes};

#[inline(always)]
fn pass<const VEX: bool>(cpu: &mut Cpu) -> Step {
    cpu.pass(if VEX { Gate::Avx } else { Gate::Sse })
}

/// MOVAPS, MOVUPS, MOVDQA, MOVDQU … between registers.
fn copy<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    let mut slot = [0; 2];
    cpu.copy_ymm(op.src, &mut slot, false);
    cpu.take_ymm(op.dst, &slot, VEX);
    Ok(())
}

/// The same from 16 bytes of memory aligned to `ALIGN`.
fn load<const VEX: bool, const ALIGN: u64>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    let value = u128::from_le_bytes(cpu.load_wide(op, ALIGN)?);
    cpu.set_xmm::<VEX>(op.dst, value);
    Ok(())
}

/// The same to memory.
fn store<const VEX: bool, const ALIGN: u64>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    cpu.store_wide(op, ALIGN, cpu.xmm(op.src).to_le_bytes())
}

/// VMOVAPS, VMOVDQU … of 32 bytes between registers.
fn copy_256(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::Avx)?;
    let value = cpu.ymm(op.src);
    cpu.set_ymm(op.dst, value);
    Ok(())
}

fn load_256<const ALIGN: u64>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::Avx)?;
    let value = from_bytes(cpu.load_wide(op, ALIGN)?);
    cpu.set_ymm(op.dst, value);
    Ok(())
}

fn store_256<const ALIGN: u64>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::Avx)?;
    cpu.store_wide(op, ALIGN, to_bytes(cpu.ymm(op.src)))
}

/// MOVD, MOVQ, MOVSS, MOVSD from memory: the rest of the register becomes zero.
fn load_low<T: Scalar, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    let value = cpu.load::<T>(op)?.to_u64();
    cpu.set_xmm::<VEX>(op.dst, value.into());
    Ok(())
}

/// MOVD, MOVQ, MOVSS, MOVSD, MOVLPS to memory.
fn store_low<T: Scalar, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    cpu.store(op, T::from_u64(cpu.xmm(op.src) as u64))
}

/// MOVHPS to memory.
fn store_high<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    cpu.store(op, (cpu.xmm(op.src) >> 64) as u64)
}

/// MOVLPS from memory: the high half stays.
fn replace_low(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<false>(cpu)?;
    let value = cpu.load::<u64>(op)?;
    let kept = cpu.xmm(op.dst) >> 64 << 64;
    cpu.set_xmm::<false>(op.dst, kept | u128::from(value));
    Ok(())
}

/// MOVHPS from memory: the low half stays.
fn replace_high(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<false>(cpu)?;
    let value = cpu.load::<u64>(op)?;
    let kept = u128::from(cpu.xmm(op.dst) as u64);
    cpu.set_xmm::<false>(op.dst, kept | u128::from(value) << 64);
    Ok(())
}

/// MOVD, MOVQ from a general register.
fn from_general<T: Scalar, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    let value = T::from_u64(cpu.gpr[usize::from(op.src)]).to_u64();
    cpu.set_xmm::<VEX>(op.dst, value.into());
    Ok(())
}

/// MOVD, MOVQ to a general register.
fn to_general<T: Scalar, const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    cpu.gpr[usize::from(op.dst)] = T::from_u64(cpu.xmm(op.src) as u64).to_u64();
    Ok(())
}

/// MOVQ between registers: the high half becomes zero.
fn copy_low<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    let value = cpu.xmm(op.src) as u64;
    cpu.set_xmm::<VEX>(op.dst, value.into());
    Ok(())
}

/// MOVSS, MOVSD between registers: the rest stays.
fn merge_low<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<false>(cpu)?;
    let mask = u128::MAX >> (128 - 8 * T::SIZE);
    let value = cpu.xmm(op.dst) & !mask | cpu.xmm(op.src) & mask;
    cpu.set_xmm::<false>(op.dst, value);
    Ok(())
}

/// PXOR, XORPS and the like of a register with itself.
fn clear<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    pass::<VEX>(cpu)?;
    cpu.set_xmm::<VEX>(op.dst, 0);
    Ok(())
}

/// Moves to or from a register or memory: `kinds` decides between the two functions.
fn either(op: &Op, registers: Exec, memory: Exec) -> Option<Exec> {
    Some(if op.kinds[0] == Kind::Register && op.kinds[1] == Kind::Register { registers } else { memory })
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &Op) -> Option<Exec> {
    use Code::*;
    match instruction.code() {
        Movaps_xmm_xmmm128 | Movapd_xmm_xmmm128 | Movdqa_xmm_xmmm128 => {
            either(op, copy::<false>, load::<false, 16>)
        }
        Movaps_xmmm128_xmm | Movapd_xmmm128_xmm | Movdqa_xmmm128_xmm => {
            either(op, copy::<false>, store::<false, 16>)
        }
        Movups_xmm_xmmm128 | Movupd_xmm_xmmm128 | Movdqu_xmm_xmmm128 | Lddqu_xmm_m128 => {
            either(op, copy::<false>, load::<false, 1>)
        }
        Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm => {
            either(op, copy::<false>, store::<false, 1>)
        }
        Movntps_m128_xmm | Movntpd_m128_xmm | Movntdq_m128_xmm => Some(store::<false, 16>),
        Movd_xmm_rm32 => either(op, from_general::<u32, false>, load_low::<u32, false>),
        Movq_xmm_rm64 => either(op, from_general::<u64, false>, load_low::<u64, false>),
        Movd_rm32_xmm => either(op, to_general::<u32, false>, store_low::<u32, false>),
        Movq_rm64_xmm => either(op, to_general::<u64, false>, store_low::<u64, false>),
        Movq_xmm_xmmm64 => either(op, copy_low::<false>, load_low::<u64, false>),
        Movq_xmmm64_xmm => either(op, copy_low::<false>, store_low::<u64, false>),
        Movss_xmm_xmmm32 => either(op, merge_low::<u32>, load_low::<u32, false>),
        Movsd_xmm_xmmm64 => either(op, merge_low::<u64>, load_low::<u64, false>),
        Movss_xmmm32_xmm => either(op, merge_low::<u32>, store_low::<u32, false>),
        Movsd_xmmm64_xmm => either(op, merge_low::<u64>, store_low::<u64, false>),
        Movlps_xmm_m64 | Movlpd_xmm_m64 => Some(replace_low),
        Movhps_xmm_m64 | Movhpd_xmm_m64 => Some(replace_high),
        Movlps_m64_xmm | Movlpd_m64_xmm => Some(store_low::<u64, false>),
        Movhps_m64_xmm | Movhpd_m64_xmm => Some(store_high::<false>),
        Pxor_xmm_xmmm128 | Xorps_xmm_xmmm128 | Xorpd_xmm_xmmm128
            if op.kinds[1] == Kind::Register && op.dst == op.src =>
        {
            Some(clear::<false>)
        }
        _ => lower_vex(instruction, op),
    }
}

fn lower_vex(instruction: &Instruction, op: &Op) -> Option<Exec> {
    use Code::*;
    match instruction.code() {
        VEX_Vmovaps_xmm_xmmm128 | VEX_Vmovapd_xmm_xmmm128 | VEX_Vmovdqa_xmm_xmmm128 => {
            either(op, copy::<true>, load::<true, 16>)
        }
        VEX_Vmovaps_xmmm128_xmm | VEX_Vmovapd_xmmm128_xmm | VEX_Vmovdqa_xmmm128_xmm => {
            either(op, copy::<true>, store::<true, 16>)
        }
        VEX_Vmovups_xmm_xmmm128 | VEX_Vmovupd_xmm_xmmm128 | VEX_Vmovdqu_xmm_xmmm128 => {
            either(op, copy::<true>, load::<true, 1>)
        }
        VEX_Vmovups_xmmm128_xmm | VEX_Vmovupd_xmmm128_xmm | VEX_Vmovdqu_xmmm128_xmm => {
            either(op, copy::<true>, store::<true, 1>)
        }
        VEX_Vmovaps_ymm_ymmm256 | VEX_Vmovapd_ymm_ymmm256 | VEX_Vmovdqa_ymm_ymmm256 => {
            either(op, copy_256, load_256::<32>)
        }
        VEX_Vmovaps_ymmm256_ymm | VEX_Vmovapd_ymmm256_ymm | VEX_Vmovdqa_ymmm256_ymm => {
            either(op, copy_256, store_256::<32>)
        }
        VEX_Vmovups_ymm_ymmm256 | VEX_Vmovupd_ymm_ymmm256 | VEX_Vmovdqu_ymm_ymmm256 => {
            either(op, copy_256, load_256::<1>)
        }
        VEX_Vmovups_ymmm256_ymm | VEX_Vmovupd_ymmm256_ymm | VEX_Vmovdqu_ymmm256_ymm => {
            either(op, copy_256, store_256::<1>)
        }
        VEX_Vmovd_xmm_rm32 => either(op, from_general::<u32, true>, load_low::<u32, true>),
        VEX_Vmovq_xmm_rm64 => either(op, from_general::<u64, true>, load_low::<u64, true>),
        VEX_Vmovd_rm32_xmm => either(op, to_general::<u32, true>, store_low::<u32, true>),
        VEX_Vmovq_rm64_xmm => either(op, to_general::<u64, true>, store_low::<u64, true>),
        VEX_Vmovq_xmm_xmmm64 => either(op, copy_low::<true>, load_low::<u64, true>),
        VEX_Vmovq_xmmm64_xmm => either(op, copy_low::<true>, store_low::<u64, true>),
        VEX_Vmovss_xmm_m32 => Some(load_low::<u32, true>),
        VEX_Vmovsd_xmm_m64 => Some(load_low::<u64, true>),
        VEX_Vmovss_m32_xmm => Some(store_low::<u32, true>),
        VEX_Vmovsd_m64_xmm => Some(store_low::<u64, true>),
        VEX_Vmovlps_m64_xmm | VEX_Vmovlpd_m64_xmm => Some(store_low::<u64, true>),
        VEX_Vmovhps_m64_xmm | VEX_Vmovhpd_m64_xmm => Some(store_high::<true>),
        // The 256-bit form clears the whole register just so.
        VEX_Vpxor_xmm_xmm_xmmm128
        | VEX_Vpxor_ymm_ymm_ymmm256
        | VEX_Vxorps_xmm_xmm_xmmm128
        | VEX_Vxorpd_xmm_xmm_xmmm128
        | VEX_Vxorps_ymm_ymm_ymmm256
        | VEX_Vxorpd_ymm_ymm_ymmm256
            if op.kinds[2] == Kind::Register && op.src == op.third =>
        {
            Some(clear::<true>)
        }
        _ => None,
    }
}
