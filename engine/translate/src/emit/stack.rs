//! PUSH, POP, LEAVE. RSP changes only after the access.

use iced_x86::{Code, Instruction, Register};

use super::assembler::{A, B, C};
use super::block::{Emitter, Next};
use super::operand::{gpr_number, is_spilled};
use crate::frame::{at, gpr_at};

const RSP: u8 = 4;
const RBP: u8 = 5;

impl Emitter<'_> {
    /// Translates a stack instruction.
    pub fn stack(&mut self, instruction: &Instruction) -> Next {
        match instruction.code() {
            Code::Push_r64 => {
                let Some(number) = gpr_number(instruction.op0_register()) else { return Next::Interpret };
                self.push(|emitter| {
                    if is_spilled(number) {
                        emitter.asm.load_frame(C, gpr_at(number));
                        C
                    } else {
                        number
                    }
                });
            }
            Code::Pushq_imm8 | Code::Pushq_imm32 => {
                let value = instruction.immediate(0) as u32;
                self.push(|emitter| {
                    // mov r13, imm32 sign-extended
                    emitter.asm.bytes(&[0x49, 0xc7, 0xc5]);
                    emitter.asm.bytes(&value.to_le_bytes());
                    C
                });
            }
            Code::Push_rm64 if instruction.op0_register() == Register::None => {
                let Some(from) = self.linear_address(instruction) else { return Next::Interpret };
                self.look_up(from, 8, false);
                self.asm.load(A, from, B);
                self.asm.store_frame(at!(target), A);
                self.push(|emitter| {
                    emitter.asm.load_frame(C, at!(target));
                    C
                });
            }
            Code::Pop_r64 => {
                let Some(number) = gpr_number(instruction.op0_register()) else { return Next::Interpret };
                self.look_up(RSP, 8, false);
                if number == RSP {
                    self.asm.load(RSP, RSP, B);
                    return Next::Following;
                }
                if is_spilled(number) {
                    self.asm.load(C, RSP, B);
                    self.asm.store_frame(gpr_at(number), C);
                    self.restore_c();
                } else {
                    self.asm.load(number, RSP, B);
                }
                self.asm.lea(RSP, Some(RSP), None, 8, true);
            }
            Code::Leaveq => {
                self.look_up(RBP, 8, false);
                self.asm.load(A, RBP, B);
                self.asm.lea(RSP, Some(RBP), None, 8, true);
                self.asm.mov(RBP, A);
            }
            _ => return Next::Interpret,
        }
        Next::Following
    }

    /// Pushes what `value` leaves in the register it names; it may use C.
    pub fn push(&mut self, value: impl FnOnce(&mut Self) -> u8) {
        self.asm.lea(A, Some(RSP), None, -8, true);
        self.look_up(A, 8, true);
        let register = value(self);
        self.asm.store(A, B, register);
        self.asm.lea(RSP, Some(RSP), None, -8, true);
        if register == C {
            self.restore_c();
        }
    }
}
