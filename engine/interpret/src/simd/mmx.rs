//! MM registers are the x87 registers by their physical numbers (SDM vol. 3, 13.2).
//!
//! `Fpu` keeps the x87 registers relative to the top of the stack, as FXSAVE does. An MMX instruction sets
//! TOP to zero and every tag to valid, which rotates the image once; what it writes gets all ones
//! in bits 64 to 79.

use iced_x86::{Instruction, Mnemonic};
use x86::Legacy;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::simd::gate::Gate;
use crate::simd::x87::Registers;

/// The exponent and sign of a register that MMX has written.
const ONES: u128 = 0xffff << 64;

/// An MM register.
pub(crate) fn read(legacy: &Legacy, n: u8) -> u64 {
    legacy.st[usize::from(u16::from(n) + 8 - legacy.top()) % 8] as u64
}

/// From x87 to MMX: TOP becomes zero, all tags valid.
pub(crate) fn enter(legacy: &mut Legacy) {
    let top = usize::from(legacy.top());
    legacy.st.rotate_right(top);
    legacy.fsw &= !(7 << 11);
    legacy.ftw = 0xff;
}

/// Sets an MM register, after [`enter`].
pub(crate) fn write(legacy: &mut Legacy, n: u8, value: u64) {
    legacy.st[usize::from(n) % 8] = u128::from(value) | ONES;
}

/// EMMS: all registers become empty.
fn emms(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.pass(Gate::Mmx)?;
    let legacy = &mut cpu.state.fpu.legacy;
    enter(legacy);
    legacy.ftw = 0;
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction) -> Option<Exec> {
    (instruction.mnemonic() == Mnemonic::Emms).then_some(emms as Exec)
}
