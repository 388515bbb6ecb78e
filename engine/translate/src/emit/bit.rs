//! BT, BTS, BTR, BTC on memory with the bit's number in a register: the number is signed and may lead
//! anywhere, so the word is found first and the instruction then works within it.

use iced_x86::{Instruction, Mnemonic, Register};

use super::assembler::{A, B, C};
use super::block::{Emitter, Next};
use super::operand::{gpr_number, is_spilled};
use crate::frame::gpr_at;

impl Emitter<'_> {
    /// Translates a bit instruction on memory.
    pub fn bit_in_memory(&mut self, instruction: &Instruction) -> Next {
        let bit = instruction.op1_register();
        let Some(number) = gpr_number(bit) else { return Next::Interpret };
        let wide = match bit.size() {
            8 => true,
            4 => false,
            _ => return Next::Interpret,
        };
        let Some(from) = self.linear_address(instruction) else { return Next::Interpret };
        let source = if is_spilled(number) { C } else { number };
        // The word: bit / 64 or 32, signed.
        self.load_bit(number);
        self.asm.mov_imm32(B, if wide { 6 } else { 5 });
        self.asm.sarx(C, source, B, wide);
        if !wide {
            self.asm.movsxd(C, C);
        }
        self.asm.lea(A, Some(from), Some((C, if wide { 3 } else { 2 })), 0, true);
        self.restore_c();
        self.look_up(A, if wide { 8 } else { 4 }, instruction.mnemonic() != Mnemonic::Bt);
        self.asm.lea(A, Some(A), Some((B, 0)), 0, true);
        // The bit within it, without touching a flag.
        self.load_bit(number);
        self.asm.mov_imm32(B, if wide { 58 } else { 59 });
        self.asm.shlx(C, source, B);
        self.asm.shrx(C, C, B);
        let mut changed = *instruction;
        changed.set_op1_register(if wide { Register::R13 } else { Register::R13D });
        changed.set_memory_base(Register::R15);
        changed.set_memory_index(Register::None);
        changed.set_memory_index_scale(1);
        changed.set_memory_displacement64(0);
        changed.set_memory_displ_size(0);
        changed.set_segment_prefix(Register::None);
        if !self.encode(&changed) {
            return Next::Interpret;
        }
        self.restore_c();
        Next::Following
    }

    fn load_bit(&mut self, number: u8) {
        if is_spilled(number) {
            self.asm.load_frame(C, gpr_at(number));
        }
    }
}
