//! CBW, CWDE, CDQE: the accumulator's lower half sign-extended into itself. CWD, CDQ, CQO: its sign
//! copied all over rDX.

use iced_x86::{Instruction, Mnemonic};
use x86::Gpr;

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::width::Width;

const RAX: u8 = Gpr::Rax as u8;
const RDX: u8 = Gpr::Rdx as u8;

fn widen<S: Width, T: Width>(cpu: &mut Cpu, _: &Op) -> Step {
    let value = S::get(cpu, RAX).signed() as u64;
    T::set(cpu, RAX, T::from_u64(value));
    Ok(())
}

fn spread<T: Width>(cpu: &mut Cpu, _: &Op) -> Step {
    let sign = T::get(cpu, RAX).signed() >> 63;
    T::set(cpu, RDX, T::from_u64(sign as u64));
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Cbw => Some(widen::<u8, u16>),
        Mnemonic::Cwde => Some(widen::<u16, u32>),
        Mnemonic::Cdqe => Some(widen::<u32, u64>),
        Mnemonic::Cwd => Some(spread::<u16>),
        Mnemonic::Cdq => Some(spread::<u32>),
        Mnemonic::Cqo => Some(spread::<u64>),
        _ => None,
    }
}
