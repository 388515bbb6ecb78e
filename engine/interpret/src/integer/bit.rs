//! BT, BTS, BTR, BTC.
//!
//! With a bit number in a register and memory for the bits, the number is signed and reaches beyond the
//! operand: it selects the word as well as the bit in it. Flags other than CF stay.

use iced_x86::{Instruction, Mnemonic};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::{Raised, Step};
use crate::walk::Access;
use crate::width::Width;

/// What happens to the bit.
trait Change {
    const WRITES: bool = true;
    fn apply(word: u64, bit: u64) -> u64;
}

macro_rules! change {
    ($name:ident, $writes:literal, |$word:ident, $bit:ident| $body:expr) => {
        struct $name;
        impl Change for $name {
            const WRITES: bool = $writes;
            #[inline(always)]
            fn apply($word: u64, $bit: u64) -> u64 {
                $body
            }
        }
    };
}

change!(Test, false, |word, _bit| word);
change!(Set, true, |word, bit| word | bit);
change!(Reset, true, |word, bit| word & !bit);
change!(Complement, true, |word, bit| word ^ bit);

/// The bit number as given, signed.
#[inline(always)]
fn number<T: Width>(cpu: &Cpu, op: &Op) -> i64 {
    if op.kinds[1] == Kind::Register { T::get(cpu, op.src).signed() } else { op.imm as i64 }
}

/// The bit's mask in its word.
#[inline(always)]
fn mask<T: Width>(number: i64) -> u64 {
    1 << (number as u64 % u64::from(T::BITS))
}

fn register<F: Change, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let word = T::get(cpu, op.dst).to_u64();
    let bit = mask::<T>(number::<T>(cpu, op));
    cpu.status.set_carry(word & bit != 0);
    if F::WRITES {
        T::set(cpu, op.dst, T::from_u64(F::apply(word, bit)));
    }
    Ok(())
}

/// Where the word with the bit is.
#[inline(always)]
fn place<T: Width>(cpu: &mut Cpu, op: &Op, number: i64, access: Access) -> Result<u64, Raised> {
    let mut offset = op.effective(cpu);
    if op.kinds[1] == Kind::Register {
        let words = number >> T::BITS.trailing_zeros();
        offset = offset.wrapping_add((words as u64).wrapping_mul(T::SIZE));
        offset = offset << op.address_shift >> op.address_shift;
    }
    cpu.linear(op.segment, offset, T::SIZE, access)
}

fn memory<F: Change, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let number = number::<T>(cpu, op);
    let bit = mask::<T>(number);
    let word = if F::WRITES {
        let linear = place::<T>(cpu, op, number, Access::Write)?;
        let change = |word: T| T::from_u64(F::apply(word.to_u64(), bit));
        cpu.modify_at(linear, op.segment, op.locked, change)?.0
    } else {
        let linear = place::<T>(cpu, op, number, Access::Read)?;
        cpu.read::<T>(linear, op.segment)?
    };
    cpu.status.set_carry(word.to_u64() & bit != 0);
    Ok(())
}

fn shape<F: Change>(op: &Op) -> Option<Exec> {
    match op.kinds[0] {
        Kind::Register => by_wide_width!(op.width, register, F),
        _ => by_wide_width!(op.width, memory, F),
    }
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Bt => shape::<Test>(op),
        Mnemonic::Bts => shape::<Set>(op),
        Mnemonic::Btr => shape::<Reset>(op),
        Mnemonic::Btc => shape::<Complement>(op),
        _ => None,
    }
}
