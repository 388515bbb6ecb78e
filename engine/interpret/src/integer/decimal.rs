//! AAA, AAS, AAM, AAD, DAA, DAS: decimal arithmetic, outside 64-bit code only (SDM vol. 2).

use iced_x86::{Instruction, Mnemonic};
use x86::flags::{AF, CF, STATUS};
use x86::{Exception, Gpr, Vector};

use crate::cpu::Cpu;
use crate::op::{Exec, HIGH, Op};
use crate::raised::Step;
use crate::status::Status;
use crate::width::Width;

const AX: u8 = Gpr::Rax as u8;
const AL: u8 = AX;

/// Leaves SF, ZF and PF of a byte with these AF and CF; OF is clear.
fn set_flags(cpu: &mut Cpu, al: u8, adjust: bool, carry: bool) {
    let mut status = Status::default();
    status.set_logic::<u8>(u64::from(al));
    let flag = |set, bit| if set { bit } else { 0 };
    cpu.status.set_bits(status.bits() & STATUS | flag(adjust, AF) | flag(carry, CF));
}

/// AAA and (`SUBTRACT`) AAS.
fn unpacked<const SUBTRACT: bool>(cpu: &mut Cpu, _: &Op) -> Step {
    let ax = u16::get(cpu, AX);
    let adjust = ax & 0xf > 9 || cpu.status.adjust();
    let ax = match (adjust, SUBTRACT) {
        (false, _) => ax,
        (true, false) => ax.wrapping_add(0x106),
        (true, true) => ax.wrapping_sub(0x106),
    } & 0xff0f;
    u16::set(cpu, AX, ax);
    set_flags(cpu, ax as u8, adjust, adjust);
    Ok(())
}

/// DAA and (`SUBTRACT`) DAS.
fn packed<const SUBTRACT: bool>(cpu: &mut Cpu, _: &Op) -> Step {
    let old = u8::get(cpu, AL);
    let carry = old > 0x99 || cpu.status.carry();
    let adjust = old & 0xf > 9 || cpu.status.adjust();
    let by = if adjust { 6 } else { 0 } + if carry { 0x60 } else { 0 };
    let al = if SUBTRACT { old.wrapping_sub(by) } else { old.wrapping_add(by) };
    // DAS also carries when taking 6 away borrows.
    let carry = carry || SUBTRACT && adjust && old < 6;
    u8::set(cpu, AL, al);
    set_flags(cpu, al, adjust, carry);
    Ok(())
}

fn aam(cpu: &mut Cpu, op: &Op) -> Step {
    let base = op.imm as u8;
    if base == 0 {
        return Err(cpu.raise(Exception::new(Vector::DivideError)));
    }
    let al = u8::get(cpu, AL);
    u8::set(cpu, HIGH, al / base);
    u8::set(cpu, AL, al % base);
    set_flags(cpu, al % base, false, false);
    Ok(())
}

fn aad(cpu: &mut Cpu, op: &Op) -> Step {
    let al = u8::get(cpu, HIGH).wrapping_mul(op.imm as u8).wrapping_add(u8::get(cpu, AL));
    u16::set(cpu, AX, u16::from(al));
    set_flags(cpu, al, false, false);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    Some(match instruction.mnemonic() {
        Mnemonic::Aaa => unpacked::<false>,
        Mnemonic::Aas => unpacked::<true>,
        Mnemonic::Daa => packed::<false>,
        Mnemonic::Das => packed::<true>,
        Mnemonic::Aam => aam,
        Mnemonic::Aad => aad,
        _ => return None,
    })
}
