//! Moves of the elements that a mask selects: MASKMOVQ, MASKMOVDQU, VMASKMOVPS, VPMASKMOVD and their kin.
//! Memory that is not selected is not touched, so it can neither fault nor change.

use base::Scalar;
use iced_x86::{Instruction, Mnemonic, Register};
use x86::Gpr;

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::{Raised, Step};
use crate::simd::gate::Gate;
use crate::simd::mmx;
use crate::simd::operand::{from_bytes, to_bytes};
use crate::walk::Access;

impl Cpu {
    /// The linear address of `len` bytes `delta` bytes into a memory operand at `offset`.
    fn element(
        &mut self,
        op: &Op,
        offset: u64,
        delta: usize,
        len: u64,
        access: Access,
    ) -> Result<u64, Raised> {
        let offset = offset.wrapping_add(delta as u64) << op.address_shift >> op.address_shift;
        self.linear(op.segment, offset, len, access)
    }

    /// Stores the elements of `size` bytes whose mask has its top bit set, all or none.
    fn store_masked(&mut self, op: &Op, offset: u64, size: usize, value: &[u8], mask: &[u8]) -> Step {
        let mut selected = [None; 32];
        for (at, place) in (0..value.len()).step_by(size).zip(&mut selected) {
            if mask[at + size - 1] & 0x80 == 0 {
                continue;
            }
            let linear = self.element(op, offset, at, size as u64, Access::Write)?;
            self.prove_write(linear, size as u64, op.segment)?;
            *place = Some((linear, at));
        }
        for (linear, at) in selected.into_iter().flatten() {
            self.write_bytes(linear, &value[at..at + size], op.segment)?;
        }
        Ok(())
    }

    /// Loads the elements whose mask has its top bit set; the others are zero.
    fn load_masked<T: Scalar>(&mut self, op: &Op, into: &mut [u8], mask: &[u8]) -> Step {
        let size = T::SIZE as usize;
        let offset = op.effective(self);
        for at in (0..into.len()).step_by(size) {
            if mask[at + size - 1] & 0x80 != 0 {
                let linear = self.element(op, offset, at, T::SIZE, Access::Read)?;
                let value = self.read::<T>(linear, op.segment)?.to_u64();
                into[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
        Ok(())
    }
}

/// MASKMOVQ to DS:rDI.
fn maskmovq(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::Mmx)?;
    let legacy = &cpu.state.fpu.legacy;
    let (value, mask) = (mmx::read(legacy, op.src), mmx::read(legacy, op.third));
    let offset = cpu.get(Gpr::Rdi);
    cpu.store_masked(op, offset, 1, &value.to_le_bytes(), &mask.to_le_bytes())?;
    mmx::enter(&mut cpu.state.fpu.legacy);
    Ok(())
}

/// MASKMOVDQU to DS:rDI.
fn maskmovdqu<const VEX: bool>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(if VEX { Gate::Avx } else { Gate::Sse })?;
    let (value, mask) = (cpu.xmm(op.src), cpu.xmm(op.third));
    let offset = cpu.get(Gpr::Rdi);
    cpu.store_masked(op, offset, 1, &value.to_le_bytes(), &mask.to_le_bytes())
}

/// VMASKMOV and VPMASKMOV; `op.extra` bytes.
fn load<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::Avx)?;
    let (mut value, mask) = ([0; 32], to_bytes(cpu.ymm(op.src)));
    cpu.load_masked::<T>(op, &mut value[..op.extra as usize], &mask)?;
    cpu.set_ymm(op.dst, from_bytes(value));
    Ok(())
}

fn store<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.pass(Gate::Avx)?;
    let (value, mask) = (to_bytes(cpu.ymm(op.third)), to_bytes(cpu.ymm(op.src)));
    let offset = op.effective(cpu);
    cpu.store_masked(op, offset, T::SIZE as usize, &value[..op.extra as usize], &mask)
}

/// Chooses what executes an instruction of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    let is_load = op.kinds[0] == Kind::Register;
    let exec: Exec = match instruction.mnemonic() {
        Mnemonic::Maskmovq => maskmovq,
        Mnemonic::Maskmovdqu => maskmovdqu::<false>,
        Mnemonic::Vmaskmovdqu => maskmovdqu::<true>,
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd if is_load => load::<u32>,
        Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovq if is_load => load::<u64>,
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd => store::<u32>,
        Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovq => store::<u64>,
        _ => return None,
    };
    let wide = (0..instruction.op_count()).map(|n| instruction.op_register(n)).any(Register::is_ymm);
    op.extra = if wide { 32 } else { 16 };
    Some(exec)
}
