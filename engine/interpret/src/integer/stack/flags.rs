//! PUSHF and POPF: which flags each privilege level may see and change (SDM vol. 2, POPF, table 4-21;
//! vol. 3, 21.2 for virtual-8086 mode).

use iced_x86::{Code, Instruction};
use x86::control::cr4;
use x86::flags::{ALL, IF, IOPL, RF, TF, VIF, VIP, VM};

use super::{popped, pushed};
use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::width::Width;

/// How virtual-8086 mode restricts PUSHF and POPF.
enum Guard {
    /// As elsewhere: not virtual-8086 mode, or IOPL is 3.
    Open,
    /// IF stands for VIF: CR4.VME, 16-bit operands.
    Virtual,
    /// #GP(0).
    Shut,
}

fn guard<T: Width>(cpu: &Cpu) -> Guard {
    if !cpu.mode.v86 || cpu.state.rflags & IOPL == IOPL {
        Guard::Open
    } else if cpu.state.cr4 & cr4::VME != 0 && T::BITS == 16 {
        Guard::Virtual
    } else {
        Guard::Shut
    }
}

fn push_flags<T: Width>(cpu: &mut Cpu, _: &Op) -> Step {
    let flags = cpu.rflags() & !(RF | VM);
    let image = match guard::<T>(cpu) {
        Guard::Open => flags,
        Guard::Virtual => flags & !IF | IOPL | if flags & VIF != 0 { IF } else { 0 },
        Guard::Shut => return Err(cpu.gp()),
    };
    let stack = pushed(cpu, T::from_u64(image))?;
    cpu.commit(stack);
    Ok(())
}

fn pop_flags<T: Width>(cpu: &mut Cpu, _: &Op) -> Step {
    let guard = guard::<T>(cpu);
    if matches!(guard, Guard::Shut) {
        return Err(cpu.gp());
    }
    let (image, stack) = popped::<T>(cpu)?;
    let (image, before) = (image.to_u64(), cpu.rflags());
    let privileged = match cpu.mode.cpl {
        0 => IF | IOPL,
        // IOPL is a level: two bits at 12.
        cpl if u64::from(cpl) <= (before & IOPL) >> 12 => IF,
        _ => 0,
    };
    let open = ALL & T::MASK & !(IF | IOPL | RF | VM | VIF | VIP);
    // A 32- or 64-bit POPF clears RF.
    let kept = before & !(RF & T::MASK);
    let flags = match guard {
        Guard::Virtual => {
            if image & TF != 0 || image & IF != 0 && before & VIP != 0 {
                return Err(cpu.gp());
            }
            let virtual_if = if image & IF != 0 { VIF } else { 0 };
            kept & !(open | VIF) | image & open | virtual_if
        }
        _ => {
            let changes = open | privileged;
            kept & !changes | image & changes
        }
    };
    cpu.commit(stack);
    cpu.set_rflags(flags);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    Some(match instruction.code() {
        Code::Pushfw => push_flags::<u16>,
        Code::Pushfd => push_flags::<u32>,
        Code::Pushfq => push_flags::<u64>,
        Code::Popfw => pop_flags::<u16>,
        Code::Popfd => pop_flags::<u32>,
        Code::Popfq => pop_flags::<u64>,
        _ => return None,
    })
}
