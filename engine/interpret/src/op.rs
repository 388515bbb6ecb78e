//! An instruction after decoding.

use crate::cpu::Cpu;
use crate::raised::Step;

/// The semantics of an instruction. [`Cpu::next`] already holds the address of the following one; a branch
/// overwrites it.
pub(crate) type Exec = fn(&mut Cpu, &Op) -> Step;

/// The number of the register that always reads zero: absent bases and indexes.
pub(crate) const ZERO: u8 = 16;
/// The number of the register that holds the address of the next instruction: RIP-relative operands.
pub(crate) const NEXT: u8 = 17;
/// AH, CH, DH, BH are `HIGH` + 0 to 3; only byte operands have them.
pub(crate) const HIGH: u8 = 32;

/// The segment of a memory operand that needs no base, limit or rights: 64-bit mode without FS and GS.
pub(crate) const FLAT: u8 = 8;
/// The same, for operands based on the stack: a non-canonical address raises #SS.
pub(crate) const FLAT_STACK: u8 = 8 | 2;

/// What an explicit operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// No such operand.
    #[default]
    None,
    /// A register: its number is in `dst`, `src` or `third`.
    Register,
    /// Memory: `base`, `index`, `scale`, `disp`, `segment`.
    Memory,
    /// An immediate or branch displacement: `imm`.
    Immediate,
}

/// The repeat prefix of a string instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Repeat {
    #[default]
    None,
    /// REP or REPE.
    WhileEqual,
    /// REPNE.
    WhileNotEqual,
}

/// An instruction after decoding. The operand fields are filled in for every instruction alike (see
/// `decode`); `lower` of a family chooses `exec` by them and may use any field as its functions need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    /// What it does.
    pub exec: Exec,
    /// The immediate, sign-extended; for a near branch the displacement from the next instruction.
    pub imm: u64,
    /// The displacement of the memory operand.
    pub disp: u64,
    /// The second immediate (ENTER, far pointers), or a number of the family's own.
    pub extra: u32,
    /// iced's [`Code`](iced_x86::Code) as a number.
    pub code: u16,
    /// Length in bytes.
    pub len: u8,
    /// First operand's register.
    pub dst: u8,
    /// Second operand's register.
    pub src: u8,
    /// Third operand's register.
    pub third: u8,
    /// Base register, `ZERO` or `NEXT`.
    pub base: u8,
    /// Index register or `ZERO`.
    pub index: u8,
    /// Left shift of the index.
    pub scale: u8,
    /// Segment register number, `FLAT` or `FLAT_STACK`.
    pub segment: u8,
    /// 64 minus the address size in bits: addresses are cut to that.
    pub address_shift: u8,
    /// Operand size in bytes: that of the first operand, or the effective one where there is none.
    pub width: u8,
    /// The explicit operands.
    pub kinds: [Kind; 3],
    /// LOCK was given, or is implied (XCHG with memory).
    pub locked: bool,
    /// REP prefixes of string instructions.
    pub repeat: Repeat,
    /// Nothing may follow in the same block: branches, and whatever changes modes, maps or interrupts.
    pub ends_block: bool,
}

impl Op {
    /// The effective address: an offset into the segment.
    #[inline(always)]
    pub fn effective(&self, cpu: &Cpu) -> u64 {
        let sum = cpu.gpr[usize::from(self.base)]
            .wrapping_add(cpu.gpr[usize::from(self.index)] << self.scale)
            .wrapping_add(self.disp);
        sum << self.address_shift >> self.address_shift
    }

    /// Effective address size in bytes.
    #[inline]
    pub fn address_bytes(&self) -> u64 {
        u64::from(64 - self.address_shift) / 8
    }
}
