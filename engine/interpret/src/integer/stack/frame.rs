//! ENTER and LEAVE (SDM vol. 1, 6.6).

use iced_x86::{Code, Instruction, Mnemonic};
use x86::Gpr;

use super::{SS, Stack, read, write};
use crate::cpu::Cpu;
use crate::op::{Exec, FLAT_STACK, Op};
use crate::raised::Step;
use crate::walk::Access;
use crate::width::Width;

const RBP: u8 = Gpr::Rbp as u8;

/// `imm` bytes of locals, `extra` (mod 32) levels of nesting: copies the outer frames' pointers below
/// the saved rBP, then this frame's own.
fn enter<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let level = op.extra % 32;
    let mut top = cpu.get(Gpr::Rsp).wrapping_sub(T::SIZE);
    let caller = T::get(cpu, RBP);
    write(cpu, Stack(top), caller)?;
    let frame = top;
    let mut outer = cpu.get(Gpr::Rbp);
    for _ in 1..level {
        outer = outer.wrapping_sub(T::SIZE);
        top = top.wrapping_sub(T::SIZE);
        let pointer: T = read(cpu, Stack(outer))?;
        write(cpu, Stack(top), pointer)?;
    }
    if level > 0 {
        top = top.wrapping_sub(T::SIZE);
        write(cpu, Stack(top), T::from_u64(frame))?;
    }
    // The new top must be writable by an operand, though nothing is written there.
    let top = Stack(top.wrapping_sub(op.imm & 0xffff));
    let segment = if cpu.mode.is_64() { FLAT_STACK } else { SS };
    let linear = cpu.linear(segment, top.0 & cpu.mode.stack_mask, T::SIZE, Access::Write)?;
    cpu.check_alignment::<T>(linear)?;
    cpu.prove_write(linear, T::SIZE, segment)?;
    T::set(cpu, RBP, T::from_u64(frame & cpu.mode.stack_mask));
    cpu.commit(top);
    Ok(())
}

fn leave<T: Width>(cpu: &mut Cpu, _: &Op) -> Step {
    let from = cpu.get(Gpr::Rbp);
    let caller: T = read(cpu, Stack(from))?;
    cpu.commit(Stack(from.wrapping_add(T::SIZE)));
    T::set(cpu, RBP, caller);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    op.width = match instruction.code() {
        Code::Enterw_imm16_imm8 | Code::Leavew => 2,
        Code::Enterd_imm16_imm8 | Code::Leaved => 4,
        Code::Enterq_imm16_imm8 | Code::Leaveq => 8,
        _ => return None,
    };
    match instruction.mnemonic() {
        Mnemonic::Enter => by_wide_width!(op.width, enter),
        _ => by_wide_width!(op.width, leave),
    }
}
