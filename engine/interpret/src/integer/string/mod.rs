//! MOVS, STOS, LODS, CMPS, SCAS and their repetition.
//!
//! A repeated instruction does a bounded chunk and then leaves RIP where it is and ends the block, so the
//! loop can look at interrupts before it goes on. The registers are exact after every element: a fault
//! or an interrupt in the middle needs no other memory of how far it came (SDM vol. 1, 7.3.9.2).
//!
//! MOVS and STOS upwards take the [`bulk`] way first, which does as many elements as lie in one page
//! each of source and destination.

mod bulk;
mod element;

use base::Scalar;
use iced_x86::{Code, Instruction};
use x86::flags::DF;
use x86::{Gpr, SegmentRegister};

use crate::cpu::Cpu;
use crate::op::{Exec, FLAT, Op, Repeat};
use crate::raised::{Raised, Step};
use crate::status::Status;
use crate::width::Width;
use element::{Cmps, Lods, Movs, Scas, Stos};

/// The most elements done without a look at interrupts.
const CHUNK: u64 = 4096;

/// A string instruction.
trait Element {
    /// Does it compare, so that a repetition may end by ZF?
    const COMPARES: bool = false;
    /// Does one element and moves the index registers on.
    fn once<T: Width>(cpu: &mut Cpu, op: &Op) -> Step;
    /// Does up to `count` elements at once if there is a fast way; gives how many it has done.
    ///
    /// # Errors
    /// None that `once` would not raise: what cannot be proven good is left to it.
    fn many<T: Width>(_: &mut Cpu, _: &Op, _count: u64) -> Result<u64, Raised> {
        Ok(0)
    }
}

/// The segment of the destination: ES, which cannot be overridden.
#[inline(always)]
fn destination(cpu: &Cpu) -> u8 {
    if cpu.mode.is_64() { FLAT } else { SegmentRegister::Es as u8 }
}

/// An index or count register, cut to the address size.
#[inline(always)]
fn index(cpu: &Cpu, op: &Op, register: Gpr) -> u64 {
    cpu.get(register) << op.address_shift >> op.address_shift
}

/// Writes one as an instruction of the address size would: 32 bits clear the upper half, 16 keep the rest.
#[inline(always)]
fn set_index(cpu: &mut Cpu, op: &Op, register: Gpr, value: u64) {
    let mask = u64::MAX >> op.address_shift;
    let kept = if mask == 0xffff { cpu.get(register) & !0xffff } else { 0 };
    cpu.set(register, kept | value & mask);
}

/// Moves an index register by so many elements, down if DF says so.
#[inline(always)]
fn advance<T: Scalar>(cpu: &mut Cpu, op: &Op, register: Gpr, count: u64) {
    let by = count.wrapping_mul(T::SIZE);
    let by = if cpu.state.rflags & DF != 0 { by.wrapping_neg() } else { by };
    let value = cpu.get(register).wrapping_add(by);
    set_index(cpu, op, register, value);
}

fn single<E: Element, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    E::once::<T>(cpu, op)
}

fn repeated<E: Element, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let mut count = index(cpu, op, Gpr::Rcx);
    // Under single step every iteration is a step of its own.
    let mut budget = if cpu.mode.stepping { 1 } else { CHUNK };
    let before = cpu.status;
    while count != 0 {
        let mut done = if cpu.mode.stepping { 0 } else { E::many::<T>(cpu, op, count.min(budget))? };
        if done == 0 {
            E::once::<T>(cpu, op).inspect_err(|_| restore::<E>(cpu, before))?;
            done = 1;
        }
        count -= done;
        budget -= done;
        set_index(cpu, op, Gpr::Rcx, count);
        if E::COMPARES && cpu.status.zero() != (op.repeat == Repeat::WhileEqual) {
            break;
        }
        // A store into code, even this very instruction's, is noticed afterwards, as on a real CPU.
        if count != 0 && budget == 0 {
            cpu.set_next(cpu.rip);
            cpu.leave = true;
            break;
        }
    }
    Ok(())
}

/// A fault in the middle of a comparison leaves the flags as they were (SDM vol. 2, REP).
#[cold]
fn restore<E: Element>(cpu: &mut Cpu, before: Status) {
    if E::COMPARES {
        cpu.status = before;
    }
}

fn by_repeat<E: Element>(op: &Op) -> Option<Exec> {
    match op.repeat {
        Repeat::None => by_width!(op.width, single, E),
        _ => by_width!(op.width, repeated, E),
    }
}

/// Chooses what executes an instruction of this family. INS and OUTS belong to `system`.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    use Code as C;
    match instruction.code() {
        C::Movsb_m8_m8 | C::Movsw_m16_m16 | C::Movsd_m32_m32 | C::Movsq_m64_m64 => by_repeat::<Movs>(op),
        C::Stosb_m8_AL | C::Stosw_m16_AX | C::Stosd_m32_EAX | C::Stosq_m64_RAX => by_repeat::<Stos>(op),
        C::Lodsb_AL_m8 | C::Lodsw_AX_m16 | C::Lodsd_EAX_m32 | C::Lodsq_RAX_m64 => by_repeat::<Lods>(op),
        C::Cmpsb_m8_m8 | C::Cmpsw_m16_m16 | C::Cmpsd_m32_m32 | C::Cmpsq_m64_m64 => by_repeat::<Cmps>(op),
        C::Scasb_AL_m8 | C::Scasw_AX_m16 | C::Scasd_EAX_m32 | C::Scasq_RAX_m64 => by_repeat::<Scas>(op),
        _ => None,
    }
}
