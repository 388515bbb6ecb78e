//! What programs may ask about selectors: LAR, LSL, VERR, VERW, ARPL (SDM vol. 3, 5.10). They answer in
//! ZF and fault for nothing but their operands.

use iced_x86::{Instruction, Mnemonic};
use x86::{access, flags};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::{Raised, Step};
use crate::system::descriptor::{Descriptor, RPL, kind};
use crate::system::table::word;
use crate::width::Width;

/// The access rights as LAR gives them.
const RIGHTS: u64 = 0x00ff_ff00;

/// System descriptors that LAR looks at outside long mode, as bits by type; LSL: those with a limit.
const LEGACY_LAR: u16 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 | 1 << 12;
const LEGACY_LSL: u16 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11;
/// The same in long mode.
const LONG_LAR: u16 = 1 << kind::LDT | 1 << kind::TSS | 1 << 11 | 1 << kind::CALL_GATE;
const LONG_LSL: u16 = 1 << kind::LDT | 1 << kind::TSS | 1 << 11;

impl Cpu {
    /// The descriptor, if code of this privilege may know of it.
    fn visible(&mut self, selector: u16) -> Result<Option<Descriptor>, Raised> {
        let Some(found) = self.find_descriptor(selector)? else { return Ok(None) };
        let beyond = self.mode.cpl > found.dpl() || found.rpl() > found.dpl();
        Ok((found.is_conforming() || !beyond).then_some(found))
    }

    fn answer(&mut self, yes: bool) {
        self.status.replace(flags::ZF, if yes { flags::ZF } else { 0 });
    }
}

/// The selector: the second operand.
fn selector(cpu: &mut Cpu, op: &Op) -> Result<u16, Raised> {
    if op.kinds[1] == Kind::Register { Ok(u16::get(cpu, op.src)) } else { cpu.load::<u16>(op) }
}

fn set_by_width(cpu: &mut Cpu, op: &Op, value: u64) {
    match op.width {
        2 => u16::set(cpu, op.dst, value as u16),
        4 => u32::set(cpu, op.dst, value as u32),
        _ => u64::set(cpu, op.dst, value),
    }
}

/// Gives `value` of the descriptor if it is code, data, or a system type in the mask.
fn query(cpu: &mut Cpu, op: &Op, [legacy, long]: [u16; 2], value: fn(&Descriptor) -> u64) -> Step {
    cpu.require_protected()?;
    let selector = selector(cpu, op)?;
    let types = if cpu.mode.long { long } else { legacy };
    let found = cpu.visible(selector)?;
    let found = found.filter(|found| found.system_kind().is_none_or(|kind| types >> kind & 1 != 0));
    if let Some(found) = &found {
        set_by_width(cpu, op, value(found));
    }
    cpu.answer(found.is_some());
    Ok(())
}

fn lar(cpu: &mut Cpu, op: &Op) -> Step {
    query(cpu, op, [LEGACY_LAR, LONG_LAR], |found| found.raw >> 32 & RIGHTS)
}

fn lsl(cpu: &mut Cpu, op: &Op) -> Step {
    query(cpu, op, [LEGACY_LSL, LONG_LSL], |found| u64::from(found.segment.limit))
}

fn verr(cpu: &mut Cpu, op: &Op) -> Step {
    verify(cpu, op, |rights| rights & (access::CODE | access::WRITABLE) != access::CODE)
}

fn verw(cpu: &mut Cpu, op: &Op) -> Step {
    verify(cpu, op, |rights| rights & (access::CODE | access::WRITABLE) == access::WRITABLE)
}

fn verify(cpu: &mut Cpu, op: &Op, good: fn(u16) -> bool) -> Step {
    cpu.require_protected()?;
    let selector = word(cpu, op)?;
    let found = cpu.visible(selector)?;
    let yes = found.is_some_and(|found| found.system_kind().is_none() && good(found.access()));
    cpu.answer(yes);
    Ok(())
}

/// Raises the RPL of the destination to that of the source.
fn arpl(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_protected()?;
    let source = u16::get(cpu, op.src) & RPL;
    let adjust = |old: u16| if old & RPL < source { old & !RPL | source } else { old };
    let (old, new) = if op.kinds[0] == Kind::Register {
        let old = u16::get(cpu, op.dst);
        u16::set(cpu, op.dst, adjust(old));
        (old, adjust(old))
    } else {
        cpu.modify::<u16>(op, adjust)?
    };
    cpu.answer(old != new);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    Some(match instruction.mnemonic() {
        Mnemonic::Lar => lar,
        Mnemonic::Lsl => lsl,
        Mnemonic::Verr => verr,
        Mnemonic::Verw => verw,
        Mnemonic::Arpl => arpl,
        _ => return None,
    })
}
