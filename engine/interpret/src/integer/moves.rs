//! MOV, MOVZX, MOVSX, MOVSXD, MOVBE, MOVNTI, LEA, XLAT, BSWAP. Moves of segment, control and debug registers
//! belong to `system`.

use base::Scalar;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::walk::Access;
use crate::width::Width;

fn register_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = T::get(cpu, op.src);
    T::set(cpu, op.dst, value);
    Ok(())
}

fn register_memory<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = cpu.load::<T>(op)?;
    T::set(cpu, op.dst, value);
    Ok(())
}

fn register_immediate<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    T::set(cpu, op.dst, T::from_u64(op.imm));
    Ok(())
}

fn memory_register<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = T::get(cpu, op.src);
    cpu.store(op, value)
}

fn memory_immediate<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    cpu.store(op, T::from_u64(op.imm))
}

/// MOV between general registers, memory and immediates.
fn mov(instruction: &Instruction, op: &Op) -> Option<Exec> {
    let general = |n| instruction.op_kind(n) != OpKind::Register || instruction.op_register(n).is_gpr();
    if !(general(0) && general(1)) {
        return None;
    }
    match (op.kinds[0], op.kinds[1]) {
        (Kind::Register, Kind::Register) => by_width!(op.width, register_register),
        (Kind::Register, Kind::Memory) => by_width!(op.width, register_memory),
        (Kind::Register, Kind::Immediate) => by_width!(op.width, register_immediate),
        (Kind::Memory, Kind::Register) => by_width!(op.width, memory_register),
        (Kind::Memory, Kind::Immediate) => by_width!(op.width, memory_immediate),
        _ => None,
    }
}

/// How a narrow value is widened.
trait Extend {
    fn extend<S: Width>(value: S) -> u64;
}

struct Zero;
impl Extend for Zero {
    #[inline(always)]
    fn extend<S: Width>(value: S) -> u64 {
        value.to_u64()
    }
}

struct Sign;
impl Extend for Sign {
    #[inline(always)]
    fn extend<S: Width>(value: S) -> u64 {
        value.signed() as u64
    }
}

fn extend_register<E: Extend, S: Width, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = E::extend(S::get(cpu, op.src));
    T::set(cpu, op.dst, T::from_u64(value));
    Ok(())
}

fn extend_memory<E: Extend, S: Width, T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = E::extend(cpu.load::<S>(op)?);
    T::set(cpu, op.dst, T::from_u64(value));
    Ok(())
}

fn extend<E: Extend>(instruction: &Instruction, op: &Op) -> Option<Exec> {
    fn from<E: Extend, S: Width>(op: &Op) -> Option<Exec> {
        match op.kinds[1] {
            Kind::Register => by_wide_width!(op.width, extend_register, E, S),
            Kind::Memory => by_wide_width!(op.width, extend_memory, E, S),
            _ => None,
        }
    }
    let source = match op.kinds[1] {
        Kind::Register => instruction.op_register(1).size(),
        _ => instruction.memory_size().size(),
    };
    match source {
        1 => from::<E, u8>(op),
        2 => from::<E, u16>(op),
        4 => from::<E, u32>(op),
        _ => None,
    }
}

fn swapped<T: Width>(value: T) -> T {
    T::from_u64(value.to_u64().swap_bytes() >> (64 - T::BITS))
}

fn load_swapped<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = cpu.load::<T>(op)?;
    T::set(cpu, op.dst, swapped(value));
    Ok(())
}

fn store_swapped<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = T::get(cpu, op.src);
    cpu.store(op, swapped(value))
}

fn swap<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let value = T::get(cpu, op.dst);
    T::set(cpu, op.dst, swapped(value));
    Ok(())
}

/// BSWAP of a 16-bit register is undefined; the CPUs there are clear it.
fn swap_word(cpu: &mut Cpu, op: &Op) -> Step {
    u16::set(cpu, op.dst, 0);
    Ok(())
}

fn lea<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let address = op.effective(cpu);
    T::set(cpu, op.dst, T::from_u64(address));
    Ok(())
}

/// AL ← [rBX + AL].
fn xlat(cpu: &mut Cpu, op: &Op) -> Step {
    let index = u64::from(u8::get(cpu, 0));
    let offset = cpu.gpr[usize::from(op.base)].wrapping_add(index);
    let offset = offset << op.address_shift >> op.address_shift;
    let linear = cpu.linear(op.segment, offset, u8::SIZE, Access::Read)?;
    let value: u8 = cpu.read(linear, op.segment)?;
    u8::set(cpu, 0, value);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    match instruction.mnemonic() {
        Mnemonic::Mov | Mnemonic::Movnti => mov(instruction, op),
        Mnemonic::Movzx => extend::<Zero>(instruction, op),
        // MOVSXD without REX.W has a 16- or 32-bit source of the operand's own size: a plain move.
        Mnemonic::Movsxd if instruction.op_register(0).size() < 8 => mov(instruction, op),
        Mnemonic::Movsx | Mnemonic::Movsxd => extend::<Sign>(instruction, op),
        Mnemonic::Movbe if op.kinds[0] == Kind::Memory => by_wide_width!(op.width, store_swapped),
        Mnemonic::Movbe => by_wide_width!(op.width, load_swapped),
        Mnemonic::Bswap if op.width == 2 => Some(swap_word),
        Mnemonic::Bswap => by_long_width!(op.width, swap),
        Mnemonic::Lea => by_wide_width!(op.width, lea),
        Mnemonic::Xlatb if instruction.memory_index() == Register::AL => Some(xlat),
        _ => None,
    }
}
