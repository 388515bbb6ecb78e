//! CRC32: the Castagnoli polynomial, 11EDC6F41h, bits reflected.

use iced_x86::{Instruction, Mnemonic};

use super::operand::source;
use crate::cpu::Cpu;
use crate::op::{Exec, Kind, Op};
use crate::raised::Step;
use crate::width::Width;

/// The polynomial without its top bit, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What a byte contributes.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = value >> 1 ^ if value & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// Takes a source of any width into the checksum; a 64-bit destination keeps zeroes above it.
fn crc32<T: Width>(cpu: &mut Cpu, op: &Op) -> Step {
    let bytes = source::<1, T>(cpu, op)?.to_u64().to_le_bytes();
    let sum = bytes[..T::SIZE as usize]
        .iter()
        .fold(u32::get(cpu, op.dst), |sum, byte| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)]);
    u32::set(cpu, op.dst, sum);
    Ok(())
}

/// Chooses what executes an instruction of this family.
pub(super) fn lower(instruction: &Instruction, op: &mut Op) -> Option<Exec> {
    if instruction.mnemonic() != Mnemonic::Crc32 {
        return None;
    }
    let width = match op.kinds[1] {
        Kind::Register => instruction.op_register(1).size(),
        _ => instruction.memory_size().size(),
    };
    by_width!(width, crc32)
}
