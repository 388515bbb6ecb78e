//! SSE, AVX and MMX instructions executed by their stub.

use std::num::NonZeroUsize;

use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;
use x86::flags::STATUS;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::simd::arena::ArenaError;
use crate::simd::frame::VectorFrame;
use crate::simd::gate::Gate;
use crate::simd::plan::{Implied, Operand, Plan};
use crate::simd::stub::{Key, Stubs};
use crate::simd::{code, mmx, mxcsr};
use crate::walk::Access;

/// Bytes of code: room for every key there is (see [`Stubs`]). Pages are allocated as they are used.
pub(crate) const ROOM: usize = 16 << 20;

static STUBS: Stubs<VectorFrame, Plan> = Stubs::new(NonZeroUsize::new(ROOM).unwrap());

/// Makes sure that stubs can be made.
pub(crate) fn prepare() -> Result<(), ArenaError> {
    STUBS.prepare()
}

/// The register number of explicit operand `n`.
#[inline(always)]
fn register(op: &Op, n: usize) -> u8 {
    [op.dst, op.src, op.third, op.imm as u8][n]
}

/// A frame with the registers that the instruction uses.
#[inline(always)]
fn registers(cpu: &Cpu, op: &Op, plan: &Plan) -> VectorFrame {
    let mut frame = VectorFrame::default();
    for (n, operand) in plan.operands.into_iter().enumerate() {
        match operand {
            Operand::Vector => cpu.copy_ymm(register(op, n), &mut frame.vector[n + 1], plan.vex),
            Operand::Mmx => {
                frame.vector[n + 1][0] = mmx::read(&cpu.state.fpu.legacy, register(op, n)).into();
            }
            Operand::General => frame.general[0] = cpu.gpr[usize::from(register(op, n) & 15)],
            Operand::Memory | Operand::None => {}
        }
    }
    if plan.implied != Implied::None {
        cpu.copy_ymm(0, &mut frame.vector[0], plan.vex);
    }
    if matches!(plan.implied, Implied::StringIndex | Implied::StringMask) {
        frame.general = [cpu.get(Gpr::Rax), cpu.get(Gpr::Rdx), 0];
    }
    frame
}

/// Takes the operands to the stub, runs it, and commits what it gave unless there was a fault.
fn execute(cpu: &mut Cpu, op: &Op) -> Step {
    // `lower` put a number there that exists.
    let Some(stub) = STUBS.at(op.extra) else { return Err(cpu.ud()) };
    let plan = &stub.plan;
    cpu.pass(plan.gate)?;
    if plan.mmx {
        cpu.wait()?;
    }
    let mut frame = registers(cpu, op, plan);
    let memory = ..usize::from(plan.bytes);
    let mut linear = 0;
    if plan.bytes != 0 {
        let access = if plan.stores { Access::Write } else { Access::Read };
        linear = cpu.aligned(op, plan.bytes.into(), plan.align.into(), access)?;
        if plan.loads {
            cpu.read_operand(linear, &mut frame.memory[memory], op.segment)?;
        }
    }
    if plan.float {
        let guest = cpu.state.fpu.legacy.mxcsr;
        frame.mxcsr = mxcsr::quiet(guest);
        stub.entry.call(&mut frame);
        if plan.halves {
            let result = if plan.stores { &frame.memory[..16] } else { &frame.vector[1][0].to_le_bytes() };
            frame.mxcsr |= mxcsr::tiny_halves(guest, result);
        }
        if mxcsr::is_tiny(guest, frame.mxcsr) {
            let mut again = VectorFrame { memory: frame.memory, ..registers(cpu, op, plan) };
            again.mxcsr = mxcsr::quiet_unflushed(guest);
            stub.entry.call(&mut again);
            frame.mxcsr = mxcsr::tiny(frame.mxcsr, again.mxcsr);
        }
        if plan.stores {
            // A page fault comes before #XM.
            cpu.prove_write(linear, plan.bytes.into(), op.segment)?;
        }
        cpu.float_fault(frame.mxcsr)?;
    } else {
        stub.entry.call(&mut frame);
    }
    if plan.stores {
        cpu.write_operand(linear, &frame.memory[memory], op.segment)?;
    }
    commit(cpu, op, plan, &frame);
    Ok(())
}

/// Nothing can fail from here on.
#[inline(always)]
fn commit(cpu: &mut Cpu, op: &Op, plan: &Plan, frame: &VectorFrame) {
    if plan.float {
        cpu.state.fpu.legacy.mxcsr |= frame.mxcsr & mxcsr::FLAGS;
    }
    if plan.mmx {
        mmx::enter(&mut cpu.state.fpu.legacy);
    }
    for (n, operand) in plan.operands.into_iter().enumerate() {
        if !plan.writes(n) {
            continue;
        }
        let slot = &frame.vector[n + 1];
        match operand {
            Operand::Vector => cpu.take_ymm(register(op, n), slot, plan.vex),
            Operand::Mmx => mmx::write(&mut cpu.state.fpu.legacy, register(op, n), slot[0] as u64),
            Operand::General => cpu.gpr[usize::from(register(op, n) & 15)] = frame.general[0],
            Operand::Memory | Operand::None => {}
        }
    }
    match plan.implied {
        Implied::None | Implied::Mask => {}
        Implied::StringIndex => cpu.set(Gpr::Rcx, frame.general[2]),
        Implied::StringMask => cpu.take_ymm(0, &frame.vector[0], plan.vex),
    }
    if plan.status {
        cpu.status.replace(STATUS, frame.flags);
    }
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let number = STUBS.number(Key::of(instruction), || {
        let plan = Plan::of(instruction)?;
        let code = code::vector(instruction, &plan)
            .inspect_err(|error| tracing::error!(%error, "cannot encode {:?}", instruction.code()))
            .ok()?;
        Some((code, plan))
    })?;
    op.extra = number;
    if instruction.op_count() == 4 {
        op.imm = instruction.op_register(3).number() as u64;
    }
    Some(execute)
}

/// VZEROUPPER and VZEROALL: the eight registers that other than 64-bit code has, or all sixteen.
fn zero<const ALL: bool>(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.pass(Gate::Avx)?;
    let count = if cpu.mode.is_64() { 16 } else { 8 };
    cpu.state.fpu.ymm_high[..count].fill(0);
    if ALL {
        cpu.state.fpu.legacy.xmm[..count].fill(0);
    }
    Ok(())
}

/// Chooses what executes VZEROUPPER and VZEROALL.
pub(crate) fn lower_zero(instruction: &Instruction) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Vzeroupper => Some(zero::<false>),
        Mnemonic::Vzeroall => Some(zero::<true>),
        _ => None,
    }
}
