//! Control instructions that do not touch the register stack (SDM vol. 1, 8.3.11). They leave FIP, FDP and FOP
//! alone; those with N in their names do not wait for pending errors.

use iced_x86::{Code, Instruction};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::simd::gate::Gate;
use crate::simd::x87::Registers;
use x86::control::cr0;
use x86::{Exception, Vector};

fn fninit(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.state.fpu.legacy.initialize();
    Ok(())
}

/// FNCLEX: the flags, SF, ES and B.
fn fnclex(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.state.fpu.legacy.fsw &= !0x80ff;
    Ok(())
}

fn fnstcw(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.store(op, cpu.state.fpu.legacy.fcw)
}

fn fldcw(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.wait()?;
    let fcw = cpu.load::<u16>(op)?;
    cpu.state.fpu.legacy.set_control(fcw);
    Ok(())
}

fn fnstsw_memory(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.store(op, cpu.state.fpu.legacy.fsw)
}

fn fnstsw_ax(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.pass(Gate::X87)?;
    cpu.gpr[0] = cpu.gpr[0] & !0xffff | u64::from(cpu.state.fpu.legacy.fsw);
    Ok(())
}

/// FWAIT: CR0.TS stops it only together with CR0.MP, CR0.EM not at all.
fn fwait(cpu: &mut Cpu, _: &Op) -> Step {
    const BOTH: u64 = cr0::MP | cr0::TS;
    if cpu.state.cr0 & BOTH == BOTH {
        return Err(cpu.raise(Exception::new(Vector::DeviceNotAvailable)));
    }
    cpu.wait()
}

/// FNENI, FNDISI and FNSETPM mean nothing to an 80387 and its successors.
fn nothing(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.pass(Gate::X87)
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Fninit => fninit,
        Code::Fnclex => fnclex,
        Code::Fnstcw_m2byte => fnstcw,
        Code::Fldcw_m2byte => fldcw,
        Code::Fnstsw_m2byte => fnstsw_memory,
        Code::Fnstsw_AX => fnstsw_ax,
        Code::Wait => fwait,
        Code::Fneni | Code::Fndisi | Code::Fnsetpm => nothing,
        _ => return None,
    })
}
