//! VGATHERDPS, VPGATHERQQ and their kin: loads from a vector of addresses (SDM vol. 2, VGATHERDPD).
//!
//! Elements are loaded from the lowest up. A fault leaves those before it loaded and their masks clear, so that the
//! instruction goes on where it was when it is executed again: the one kind of instruction that changes
//! registers although it faults.

use base::Scalar;
use iced_x86::{Instruction, Mnemonic, Register};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::simd::gate::Gate;
use crate::simd::operand::{from_bytes, to_bytes};
use crate::walk::Access;

/// Loads `op.extra` elements of type `T` at indexes of `I`, sign-extended.
fn gather<I: Scalar, T: Scalar>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::Avx)?;
    let size = T::SIZE as usize;
    let indexes = to_bytes(cpu.ymm(op.index));
    let mut value = to_bytes(cpu.ymm(op.dst));
    let mut mask = to_bytes(cpu.ymm(op.third));
    let end = op.extra as usize * size;
    let start = cpu.gpr[usize::from(op.base)].wrapping_add(op.disp);
    let mut done = Ok(());
    for (n, at) in (0..end).step_by(size).enumerate() {
        if mask[at + size - 1] & 0x80 == 0 {
            mask[at..at + size].fill(0);
            continue;
        }
        let index = sign_extended::<I>(&indexes, n);
        let offset = start.wrapping_add(index << op.scale) << op.address_shift >> op.address_shift;
        let loaded = cpu
            .linear(op.segment, offset, T::SIZE, Access::Read)
            .and_then(|linear| cpu.read::<T>(linear, op.segment));
        match loaded {
            Ok(element) => value[at..at + size].copy_from_slice(&element.to_u64().to_le_bytes()[..size]),
            Err(raised) => {
                done = Err(raised);
                break;
            }
        }
        mask[at..at + size].fill(0);
    }
    if done.is_ok() {
        // What lies beyond the elements becomes zero, in the mask as well, but not before it is over.
        value[end..].fill(0);
        mask[end..].fill(0);
    }
    cpu.set_ymm(op.dst, from_bytes(value));
    cpu.set_ymm(op.third, from_bytes(mask));
    done
}

/// Element `n` of a vector of `I`.
fn sign_extended<I: Scalar>(bytes: &[u8; 32], n: usize) -> u64 {
    let size = I::SIZE as usize;
    let mut whole = [0; 8];
    whole[..size].copy_from_slice(&bytes[n * size..(n + 1) * size]);
    let unused = 64 - 8 * I::SIZE;
    ((u64::from_le_bytes(whole) << unused) as i64 >> unused) as u64
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    use Mnemonic::{
        Vgatherdpd, Vgatherdps, Vgatherqpd, Vgatherqps, Vpgatherdd, Vpgatherdq, Vpgatherqd, Vpgatherqq,
    };
    if instruction.code().encoding() != iced_x86::EncodingKind::VEX {
        return None;
    }
    let (exec, larger): (Exec, u32) = match instruction.mnemonic() {
        Vgatherdps | Vpgatherdd => (gather::<u32, u32>, 4),
        Vgatherdpd | Vpgatherdq => (gather::<u32, u64>, 8),
        Vgatherqps | Vpgatherqd => (gather::<u64, u32>, 8),
        Vgatherqpd | Vpgatherqq => (gather::<u64, u64>, 8),
        _ => return None,
    };
    let (target, index, mask) =
        (instruction.op_register(0), instruction.memory_index(), instruction.op_register(2));
    // The three must differ.
    let numbers = [target, index, mask].map(Register::number);
    if numbers[0] == numbers[1] || numbers[0] == numbers[2] || numbers[1] == numbers[2] {
        return None;
    }
    let bytes = if target.is_ymm() || index.is_ymm() { 32 } else { 16 };
    op.extra = bytes / larger;
    Some(exec)
}
