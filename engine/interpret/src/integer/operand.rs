//! Reading an operand that may be a register or memory, where the two are not worth a function each.

use crate::cpu::Cpu;
use crate::op::{Kind, Op};
use crate::raised::Raised;
use crate::width::Width;

/// The value of operand `N`.
#[inline(always)]
pub(super) fn source<const N: usize, T: Width>(cpu: &mut Cpu, op: &Op) -> Result<T, Raised> {
    match op.kinds[N] {
        Kind::Memory => cpu.load::<T>(op),
        _ => Ok(T::get(cpu, [op.dst, op.src, op.third][N])),
    }
}
