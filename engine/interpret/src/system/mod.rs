//! Privileged and system instructions, and the delivery of events.
//!
//! | file | holds |
//! |---|---|
//! | `deliver`, `gate`, `task`, `interrupt`, `flag` | events: double faults, IDT and IVT, stacks from the TSS, INT, IF |
//! | `descriptor`, `segment`, `table`, `base`, `verify` | the tables, and the registers loaded from them |
//! | `stack`, `far`, `far_return`, `syscall` | transfers of control between segments and levels |
//! | `control`, `debug`, `msr`, `invalidate` | the registers that govern the CPU |
//! | `feature`, `cpuid`, `counter` | what the CPU says of itself |
//! | `port` | IN and OUT |

mod base;
mod control;
mod counter;
mod cpuid;
mod debug;
mod deliver;
mod descriptor;
mod far;
mod far_return;
mod feature;
mod flag;
mod gate;
mod interrupt;
mod invalidate;
mod msr;
mod port;
mod segment;
mod stack;
mod syscall;
mod table;
mod task;
mod verify;

#[cfg(test)]
mod tests;

use iced_x86::Instruction;

pub(crate) use deliver::Event;
pub(crate) use feature::{decoder_options, offers};

use crate::op::{Exec, Op};

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    const FAMILIES: &[fn(&Instruction, &mut Op) -> Option<Exec>] = &[
        segment::lower,
        port::lower,
        flag::lower,
        interrupt::lower,
        syscall::lower,
        base::lower,
        far::lower,
        far_return::lower,
        control::lower,
        debug::lower,
        msr::lower,
        cpuid::lower,
        counter::lower,
        invalidate::lower,
        table::lower,
        verify::lower,
    ];
    FAMILIES.iter().find_map(|lower| lower(instruction, op))
}
