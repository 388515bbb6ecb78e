//! Forgetting cached translations and caches: INVLPG, INVPCID, INVD, WBINVD.

use iced_x86::{Instruction, Mnemonic};
use x86::control::cr4;
use x86::paging::is_canonical;

use crate::cpu::Cpu;
use crate::op::{Exec, FLAT, Op};
use crate::raised::Step;
use crate::walk::Access;
use crate::width::Width;

/// The address is taken as it is: limits and canonical form are not checked, only the base is added.
fn invlpg(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_supervisor()?;
    let base = if op.segment & FLAT != 0 { 0 } else { cpu.state.segments[usize::from(op.segment) % 6].base };
    let linear = op.effective(cpu).wrapping_add(base);
    let linear = if cpu.mode.is_64() { linear } else { linear & 0xffff_ffff };
    if is_canonical(linear) {
        cpu.tlb.flush_page(linear);
        cpu.leave = true;
    }
    Ok(())
}

/// INVPCID (SDM vol. 2): the register is the type, the memory operand a PCID and an address.
fn invpcid(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.require_supervisor()?;
    let kind = if cpu.mode.is_64() { u64::get(cpu, op.dst) } else { u64::from(u32::get(cpu, op.dst)) };
    let linear = cpu.address(op, 16, Access::Read)?;
    let mut raw = [0; 16];
    cpu.read_bytes(linear, &mut raw, op.segment)?;
    let raw = u128::from_le_bytes(raw);
    let (pcid, address) = (raw as u64, (raw >> 64) as u64);
    let foreign = cpu.state.cr4 & cr4::PCIDE == 0 && pcid != 0;
    match kind {
        _ if kind > 3 || pcid >> 12 != 0 => return Err(cpu.gp()),
        0 if !is_canonical(address) || foreign => return Err(cpu.gp()),
        1 if foreign => return Err(cpu.gp()),
        0 => cpu.tlb.flush_page(address),
        1 => cpu.tlb.flush_pcid(pcid),
        2 => cpu.tlb.flush_all(),
        _ => cpu.tlb.flush_not_global(),
    }
    cpu.leave = true;
    Ok(())
}

/// INVD, WBINVD: our caches are always coherent.
fn invalidate_caches(cpu: &mut Cpu, _: &Op) -> Step {
    cpu.require_supervisor()
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, _: &mut Op) -> Option<Exec> {
    Some(match instruction.mnemonic() {
        Mnemonic::Invlpg => invlpg,
        Mnemonic::Invpcid => invpcid,
        Mnemonic::Invd | Mnemonic::Wbinvd => invalidate_caches,
        _ => return None,
    })
}
