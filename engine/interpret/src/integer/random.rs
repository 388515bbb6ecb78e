//! RDRAND, RDSEED: the host's random numbers.

use iced_x86::{Instruction, Mnemonic};
use x86::flags::CF;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::width::Width;

/// CF says whether there was a number. Should the host ever have none, the destination is zero and CF clear,
/// as the manual has it.
fn random<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let number = getrandom::u64();
    T::set(cpu, op.dst, T::from_u64(*number.as_ref().unwrap_or(&0)));
    cpu.status.set_bits(if number.is_ok() { CF } else { 0 });
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Rdrand | Mnemonic::Rdseed => by_wide_width!(op.width, random),
        _ => None,
    }
}
