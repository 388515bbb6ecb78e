//! Which flags a sequence leaves undefined, instruction by instruction, so that nothing is compared that the
//! manual leaves open and nothing depends on it.
//!
//! iced-x86 knows most of it. Added here is what depends on operands: a shift by zero leaves all flags as
//! they are, a shift by more than the operand has bits leaves CF undefined, a repeated comparison may not
//! happen at all (SDM vol. 2, the respective instructions).

use iced_x86::{Instruction, Mnemonic, OpKind, Register, RflagsBits};
use x86::flags::{AF, CF, OF, PF, SF, STATUS, ZF};

/// What an instruction does to the arithmetic flags, as bits of RFLAGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagEffect {
    /// Its result depends on these.
    pub reads: u64,
    /// It gives these defined values, always.
    pub defines: u64,
    /// It may leave these undefined.
    pub undefines: u64,
}

impl FlagEffect {
    /// The effect of an instruction.
    pub fn of(instruction: &Instruction) -> Self {
        let written = instruction.rflags_written() | instruction.rflags_cleared() | instruction.rflags_set();
        let mut effect = Self {
            reads: bits(instruction.rflags_read()),
            defines: bits(written),
            undefines: bits(instruction.rflags_undefined()),
        };
        match instruction.mnemonic() {
            Mnemonic::Shl | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Sal => {
                effect.shift(instruction, AF | OF, true);
            }
            Mnemonic::Rol | Mnemonic::Ror | Mnemonic::Rcl | Mnemonic::Rcr => {
                effect.shift(instruction, OF, false);
            }
            Mnemonic::Shld | Mnemonic::Shrd => effect.shift(instruction, AF | OF, false),
            Mnemonic::Cmpsb
            | Mnemonic::Cmpsw
            | Mnemonic::Cmpsd
            | Mnemonic::Cmpsq
            | Mnemonic::Scasb
            | Mnemonic::Scasw
            | Mnemonic::Scasd
            | Mnemonic::Scasq
                if instruction.has_rep_prefix() || instruction.has_repne_prefix() =>
            {
                effect.defines = 0;
            }
            Mnemonic::Pushfq | Mnemonic::Pushf => effect.reads = STATUS,
            Mnemonic::Lahf => effect.reads = STATUS & !OF,
            Mnemonic::Popfq | Mnemonic::Popf => effect.defines = STATUS,
            _ => {}
        }
        effect.defines &= !effect.undefines;
        effect
    }

    fn shift(&mut self, instruction: &Instruction, open: u64, loses_carry: bool) {
        let size = match instruction.op0_kind() {
            OpKind::Register => instruction.op0_register().size(),
            _ => instruction.memory_size().size(),
        } as u32
            * 8;
        let by = instruction.op_count() - 1;
        if instruction.op_kind(by) == OpKind::Register && instruction.op_register(by) == Register::CL {
            self.undefines |= open;
            if loses_carry && size < 32 {
                self.undefines |= CF;
            }
            self.defines = 0;
            return;
        }
        let count = u32::from(instruction.immediate8()) & if size == 64 { 63 } else { 31 };
        match count {
            0 => {}
            1 => {}
            _ => {
                self.undefines |= open;
                if loses_carry && count >= size {
                    self.undefines |= CF;
                }
                self.defines &= !open;
            }
        }
    }

    /// The undefined flags after it, given those before it.
    pub fn after(&self, undefined: u64) -> u64 {
        undefined & !self.defines | self.undefines
    }
}

/// RFLAGS bits for iced's.
fn bits(iced: u32) -> u64 {
    [
        (RflagsBits::OF, OF),
        (RflagsBits::SF, SF),
        (RflagsBits::ZF, ZF),
        (RflagsBits::AF, AF),
        (RflagsBits::CF, CF),
        (RflagsBits::PF, PF),
    ]
    .into_iter()
    .filter(|(theirs, _)| iced & theirs != 0)
    .fold(0, |all, (_, ours)| all | ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn effect(bytes: &[u8]) -> FlagEffect {
        FlagEffect::of(&Decoder::new(64, bytes, DecoderOptions::NONE).decode())
    }

    #[test]
    fn shifts_define_flags_by_their_count() {
        assert_eq!(effect(&[0xc0, 0xe0, 0]).after(PF), PF, "SHL AL, 0");
        assert_eq!(effect(&[0xd0, 0xe0]).after(STATUS), AF, "SHL AL, 1");
        assert_eq!(effect(&[0xc0, 0xe0, 3]).after(0), AF | OF, "SHL AL, 3");
        assert_eq!(effect(&[0xc0, 0xe0, 9]).after(0), AF | OF | CF, "SHL AL, 9");
        assert_eq!(effect(&[0xd3, 0xe0]).after(SF), AF | OF | SF, "SHL EAX, CL");
        assert_eq!(effect(&[0xd2, 0xe0]).after(0), AF | OF | CF, "SHL AL, CL");
    }

    #[test]
    fn a_repeated_comparison_may_not_happen() {
        assert_eq!(effect(&[0xa6]).after(STATUS), 0, "CMPSB");
        assert_eq!(effect(&[0xf3, 0xa6]).after(ZF), ZF, "REPE CMPSB");
    }

    #[test]
    fn multiplication_leaves_flags_open() {
        assert_eq!(effect(&[0xf7, 0xe1]).after(0), SF | ZF | AF | PF, "MUL ECX");
        assert_eq!(effect(&[0x9f]).reads, STATUS & !OF, "LAHF");
    }
}
