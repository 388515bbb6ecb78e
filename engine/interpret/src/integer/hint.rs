//! Instructions that do nothing one can see in a register: NOP in all its lengths, hints, fences and
//! cache-line flushes.

use std::sync::atomic::{Ordering, fence};

use iced_x86::{Instruction, Mnemonic};

use crate::cpu::Cpu;
use crate::op::{Exec, Op};
use crate::raised::Step;
use crate::walk::Access;

fn nothing(_: &mut Cpu, _: &Op) -> Step {
    Ok(())
}

/// A spinning guest CPU waits for another: let the host's hardware thread breathe.
fn pause(_: &mut Cpu, _: &Op) -> Step {
    std::hint::spin_loop();
    Ok(())
}

/// Orders the guest's accesses before against those after, as seen by other vCPUs: they are host accesses,
/// so a host fence does it.
fn barrier(_: &mut Cpu, _: &Op) -> Step {
    fence(Ordering::SeqCst);
    Ok(())
}

/// CLFLUSH and its kin: nothing to flush, but the address is checked like a load's.
fn flush(cpu: &mut Cpu, op: &Op) -> Step {
    let linear = cpu.address(op, 1, Access::Read)?;
    cpu.translate(linear, Access::Read, cpu.mode.view, op.segment)?;
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    use Mnemonic as M;
    Some(match instruction.mnemonic() {
        M::Nop | M::Reservednop | M::Endbr32 | M::Endbr64 | M::Cldemote => nothing,
        M::Prefetch | M::Prefetchw | M::Prefetchwt1 | M::Prefetchnta => nothing,
        M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 => nothing,
        // Without shadow stacks these are NOPs (SDM vol. 1, 17.2): the register stays.
        M::Rdsspd | M::Rdsspq => nothing,
        M::Pause => pause,
        M::Mfence | M::Lfence | M::Sfence => barrier,
        M::Clflush | M::Clflushopt | M::Clwb => flush,
        _ => return None,
    })
}
