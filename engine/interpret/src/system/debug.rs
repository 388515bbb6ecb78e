//! Debug registers: MOV DR (SDM vol. 3, 18.2). Breakpoints and single steps themselves are the run loop's.

use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::control::{cr4, debug};
use x86::{Exception, Vector};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::{Raised, Step};
use crate::width::Width;

/// DR6: the bits that software sets and clears.
const DR6_WRITABLE: u64 = 0xf | debug::DR6_BD | debug::DR6_BS | debug::DR6_BT;
/// DR7: the bits that exist: enables, LE and GE, GD, kinds and lengths.
const DR7_WRITABLE: u64 = 0xffff_0000 | debug::DR7_GD | 0x3ff;

/// The number of the register meant, if the access is allowed: 4 and 5 are 6 and 7 without CR4.DE.
fn reach(cpu: &mut Cpu, number: u8) -> Result<u8, Raised> {
    let number = match number {
        4 | 5 if cpu.state.cr4 & cr4::DE != 0 => return Err(cpu.ud()),
        4 | 5 => number + 2,
        number => number,
    };
    cpu.require_supervisor()?;
    if cpu.state.dr7 & debug::DR7_GD != 0 {
        let detected = Exception { payload: debug::DR6_BD, ..Exception::new(Vector::Debug) };
        return Err(cpu.raise(detected));
    }
    Ok(number)
}

fn write(cpu: &mut Cpu, op: &Op) -> Step {
    let number = reach(cpu, op.dst)?;
    let value = if cpu.mode.is_64() { u64::get(cpu, op.src) } else { u64::from(u32::get(cpu, op.src)) };
    if number >= 6 && value >> 32 != 0 {
        return Err(cpu.gp());
    }
    match number {
        0..=3 => cpu.state.dr[usize::from(number)] = value,
        6 => {
            cpu.state.dr6 = value & DR6_WRITABLE | debug::DR6_FIXED;
            return Ok(());
        }
        _ => cpu.state.dr7 = value & DR7_WRITABLE | debug::DR7_FIXED,
    }
    // Pages under a data breakpoint are not cached.
    cpu.tlb.flush_all();
    cpu.refresh();
    Ok(())
}

fn read(cpu: &mut Cpu, op: &Op) -> Step {
    let number = reach(cpu, op.src)?;
    let value = match number {
        0..=3 => cpu.state.dr[usize::from(number)],
        6 => cpu.state.dr6,
        _ => cpu.state.dr7,
    };
    if cpu.mode.is_64() {
        u64::set(cpu, op.dst, value);
    } else {
        u32::set(cpu, op.dst, value as u32);
    }
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let is_debug = |n: u32| {
        instruction.op_kind(n) == OpKind::Register
            && instruction.op_register(n).is_dr()
            && instruction.op_register(n).number() < 8
    };
    match instruction.mnemonic() {
        Mnemonic::Mov if is_debug(0) => {
            op.ends_block = true;
            Some(write)
        }
        Mnemonic::Mov if is_debug(1) => Some(read),
        _ => None,
    }
}
