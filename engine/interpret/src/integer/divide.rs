//! DIV, IDIV. A quotient that does not fit raises #DE and changes nothing. All flags are
//! undefined afterwards; they are left as by AMD's CPUs.

use iced_x86::{Instruction, Mnemonic};
use x86::flags::{AF, PF, SF, ZF};
use x86::{Exception, Gpr, Vector};

use super::multiply::set_pair;
use super::operand::source;
use crate::cpu::Cpu;
use crate::op::{Exec, HIGH, Op};
use crate::raised::{Raised, Step};
use crate::width::Width;

#[cold]
fn divide_error(cpu: &mut Cpu) -> Raised {
    cpu.raise(Exception::new(Vector::DivideError))
}

/// The dividend: AX, or rDX:rAX.
#[inline(always)]
fn dividend<T: Width>(cpu: &Cpu) -> u128 {
    let high = T::get(cpu, if T::BITS == 8 { HIGH } else { Gpr::Rdx as u8 });
    u128::from(high.to_u64()) << T::BITS | u128::from(T::get(cpu, Gpr::Rax as u8).to_u64())
}

fn div<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let divisor = source::<0, T>(cpu, op)?.to_u64();
    let dividend = dividend::<T>(cpu);
    // One division of 64 bits where they suffice: it is many times faster than one of 128.
    let (quotient, remainder) = match (divisor, u64::try_from(dividend)) {
        (0, _) => return Err(divide_error(cpu)),
        (_, Ok(dividend)) => (u128::from(dividend / divisor), dividend % divisor),
        (_, Err(_)) => (dividend / u128::from(divisor), (dividend % u128::from(divisor)) as u64),
    };
    if quotient > u128::from(T::MASK) {
        return Err(divide_error(cpu));
    }
    set_pair::<T>(cpu, quotient as u64, remainder);
    cpu.status.replace(SF | ZF | AF | PF, AF);
    Ok(())
}

fn idiv<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let divisor = source::<0, T>(cpu, op)?.signed();
    // Sign-extended from twice the width.
    let spare = 128 - 2 * T::BITS;
    let dividend = (dividend::<T>(cpu) << spare) as i128 >> spare;
    let short = i64::try_from(dividend).ok().and_then(|d| Some((d.checked_div(divisor)?, d % divisor)));
    let (quotient, remainder) = match short {
        Some((quotient, remainder)) => (i128::from(quotient), remainder),
        None => match dividend.checked_div(i128::from(divisor)) {
            Some(quotient) => (quotient, (dividend % i128::from(divisor)) as i64),
            None => return Err(divide_error(cpu)),
        },
    };
    if quotient != i128::from(T::from_u64(quotient as u64).signed()) {
        return Err(divide_error(cpu));
    }
    set_pair::<T>(cpu, quotient as u64, remainder as u64);
    cpu.status.replace(SF | ZF | AF | PF, AF);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Div => by_width!(op.width, div),
        Mnemonic::Idiv => by_width!(op.width, idiv),
        _ => None,
    }
}
