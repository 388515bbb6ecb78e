//! Everything that works on the register stack, executed by its stub.
//!
//! The stub runs with the guest's own control word. An unmasked error does not trap there: the x87 only
//! notes it (FSW.ES) for the next instruction that waits, FXSAVE does not wait, and FNINIT clears it. The guest's
//! next waiting instruction then raises #MF here, as on hardware.
//!
//! FIP, FDP and FOP are the guest's, not the stub's. They are kept for every instruction of this family (a CPU
//! may, but need not, confine FDP to unmasked errors; CPUID.(EAX=7,ECX=0):EBX bit 6 is clear).

use std::num::NonZeroUsize;

use iced_x86::{CodeSize, CpuidFeature, Encoder, EncodingKind, Instruction, OpAccess, OpKind};
use x86::flags::STATUS;

use crate::cpu::Cpu;
use crate::op::{Exec, FLAT, Kind, Op};
use crate::raised::Step;
use crate::simd::arena::ArenaError;
use crate::simd::frame::X87Frame;
use crate::simd::gate::Gate;
use crate::simd::host::host_offers;
use crate::simd::stub::{Key, Stubs};
use crate::simd::{code, plan};
use crate::walk::Access;

/// How operands are passed.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Size of the memory operand in bytes; zero if there is none.
    bytes: usize,
    /// It is stored rather than loaded.
    stores: bool,
    /// The arithmetic flags are an input.
    reads_status: bool,
    /// The arithmetic flags are an output.
    writes_status: bool,
}

/// Room for every key: about 300 opcodes and stack registers.
static STUBS: Stubs<X87Frame, Plan> = Stubs::new(NonZeroUsize::new(1 << 20).unwrap());

/// Makes sure that stubs can be made.
pub(super) fn prepare() -> Result<(), ArenaError> {
    STUBS.prepare()
}

/// The errors that, unmasked, keep a result from being stored to memory: all but precision.
const NO_STORE: u16 = 0x1f;

fn execute(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.wait()?;
    // `lower` put a number there that exists.
    let Some(stub) = STUBS.at(op.extra) else { return Err(cpu.ud()) };
    let plan = &stub.plan;
    let mut frame = X87Frame::of(&cpu.state.fpu);
    let memory = ..plan.bytes;
    let mut linear = 0;
    if plan.bytes != 0 {
        let access = if plan.stores { Access::Write } else { Access::Read };
        linear = cpu.aligned(op, plan.bytes as u64, 1, access)?;
        if !plan.stores {
            cpu.read_operand(linear, &mut frame.memory[memory], op.segment)?;
        }
    }
    if plan.reads_status {
        frame.flags = cpu.status.bits() | x86::flags::RESERVED_ONE;
    }
    stub.entry.call(&mut frame);
    // No unmasked error was pending before, so all that are pending now are this instruction's.
    if plan.stores {
        if frame.image.fsw & !frame.image.fcw & NO_STORE == 0 {
            cpu.write_operand(linear, &frame.memory[memory], op.segment)?;
        } else {
            // A page fault comes before the error is even noted.
            cpu.prove_write(linear, plan.bytes as u64, op.segment)?;
        }
    }
    let fip = pointer(cpu, cpu.rip, x86::SegmentRegister::Cs as u8);
    let fdp = (plan.bytes != 0).then(|| pointer(cpu, op.effective(cpu), op.segment));
    if plan.writes_status {
        cpu.status.replace(STATUS, frame.flags);
    }
    let x87 = &mut cpu.state.fpu.legacy;
    (x87.fsw, x87.ftw, x87.st) = (frame.image.fsw, frame.image.ftw, frame.image.st);
    (x87.fip, x87.fop) = (fip, op.imm as u16);
    x87.fdp = fdp.unwrap_or(x87.fdp);
    Ok(())
}

/// What FIP or FDP records of an offset: itself, or where there are no selectors its linear address.
fn pointer(cpu: &Cpu, offset: u64, segment: u8) -> u64 {
    if cpu.mode.is_64() {
        return offset;
    }
    let real = !cpu.mode.protected || cpu.mode.v86;
    let base = if real && segment & FLAT == 0 { cpu.state.segments[usize::from(segment)].base } else { 0 };
    offset.wrapping_add(base) & 0xffff_ffff
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    if !is_ours(instruction) {
        return None;
    }
    op.extra = STUBS.number(Key::of(instruction), || {
        let memory = op.kinds[0] == Kind::Memory;
        let code = code::x87(instruction)
            .inspect_err(|error| tracing::error!(%error, "cannot encode {:?}", instruction.code()))
            .ok()?;
        let mut factory = iced_x86::InstructionInfoFactory::new();
        let stores = memory && factory.info(instruction).op0_access() == OpAccess::Write;
        let plan = Plan {
            bytes: if memory { instruction.memory_size().size() } else { 0 },
            stores,
            reads_status: instruction.rflags_read() & plan::STATUS != 0,
            writes_status: instruction.rflags_modified() & plan::STATUS != 0,
        };
        (plan.bytes <= 16).then_some((code, plan))
    })?;
    op.imm = opcode(instruction).unwrap_or_default().into();
    Some(execute)
}

/// Is this an x87 instruction, and one that may reach a stub?
fn is_ours(instruction: &Instruction) -> bool {
    let features = instruction.cpuid_features();
    instruction.code().encoding() == EncodingKind::Legacy
        && features.iter().any(|&feature| matches!(feature, CpuidFeature::FPU | CpuidFeature::FPU387))
        && features.iter().all(|&feature| feature == CpuidFeature::CMOV || host_offers(feature))
        && (0..instruction.op_count()).all(|n| match instruction.op_kind(n) {
            OpKind::Register => instruction.op_register(n).is_st(),
            kind => kind == OpKind::Memory,
        })
}

/// FOP (SDM vol. 1, 8.1.9): the low three bits of the first opcode byte, and the second byte.
fn opcode(instruction: &Instruction) -> Option<u16> {
    let bits = match instruction.code_size() {
        CodeSize::Code16 => 16,
        CodeSize::Code32 => 32,
        _ => 64,
    };
    let mut encoder = Encoder::new(bits);
    encoder.encode(instruction, instruction.ip()).ok()?;
    let bytes = encoder.take_buffer();
    let at = bytes.iter().position(|byte| byte & 0xf8 == 0xd8)?;
    Some(u16::from(bytes[at] & 7) << 8 | u16::from(*bytes.get(at + 1)?))
}
