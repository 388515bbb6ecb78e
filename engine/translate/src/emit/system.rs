//! What kernels ask the CPU all the time and what needs no answer from outside: RDTSC, RDTSCP, RDPID, the selectors of
//! segments, the bases of FS and GS, CR2 and CR3.
//!
//! All of it is words of the frame, which Rust fills in when translated code is entered. The time-stamp counter is the
//! host's, scaled ([`Counter`](crate::counter::Counter)):
//!
//! ```text
//!   guest's counter = (host's counter + minus_from) × scale / 2^64 + at
//! ```

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::assembler::{A, B};
use super::block::{Emitter, Key, Next};
use super::operand::{gpr_number, is_spilled};
use crate::frame::{at, gpr_at};

const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const NOT_ZERO: u8 = 5;

/// What it takes to read the time-stamp counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Aux,
    MinusFrom,
    Scale,
    At,
}

impl Emitter<'_> {
    /// Translates an instruction of this family; `Interpret` for all others.
    pub fn system(&mut self, instruction: &Instruction, key: Key) -> Next {
        match instruction.mnemonic() {
            Mnemonic::Rdtsc | Mnemonic::Rdtscp if key.counter => {
                self.read_counter(instruction.mnemonic() == Mnemonic::Rdtscp, |word| match word {
                    Word::Aux => at!(tsc_aux),
                    Word::MinusFrom => at!(tsc_minus_from),
                    Word::Scale => at!(tsc_scale),
                    Word::At => at!(tsc_at),
                });
                Next::Following
            }
            Mnemonic::Rdpid => self.give(instruction.op0_register(), at!(tsc_aux)),
            Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => match instruction.op1_register() {
                register if register.is_segment_register() => self.read_selector(instruction, register),
                Register::CR2 if !key.user => self.give(instruction.op0_register(), at!(cr2)),
                Register::CR3 if !key.user => self.give(instruction.op0_register(), at!(cr3)),
                _ => Next::Interpret,
            },
            Mnemonic::Rdfsbase if key.bases => self.give(instruction.op0_register(), at!(fs_base)),
            Mnemonic::Rdgsbase if key.bases => self.give(instruction.op0_register(), at!(gs_base)),
            Mnemonic::Wrfsbase if key.bases => self.take(instruction.op0_register(), at!(fs_base)),
            Mnemonic::Wrgsbase if key.bases => self.take(instruction.op0_register(), at!(gs_base)),
            _ => Next::Interpret,
        }
    }

    /// Reads the time-stamp counter, by words that are found from GS. Uses A and B.
    pub fn read_counter(&mut self, with_number: bool, place: impl Fn(Word) -> i32) {
        let asm = &mut self.asm;
        if with_number {
            // It waits for the instructions before it, as the guest's would.
            asm.bytes(&[0x0f, 0x01, 0xf9]);
            asm.load_frame(RCX, place(Word::Aux));
        } else {
            asm.bytes(&[0x0f, 0x31]);
        }
        asm.mov_imm32(B, 32);
        asm.shlx(RDX, RDX, B);
        asm.lea(RDX, Some(RDX), Some((RAX, 0)), 0, true);
        asm.load_frame(B, place(Word::MinusFrom));
        asm.lea(RDX, Some(RDX), Some((B, 0)), 0, true);
        asm.load_frame(B, place(Word::Scale));
        asm.multiply_rdx(A, B);
        asm.load_frame(B, place(Word::At));
        asm.lea(A, Some(A), Some((B, 0)), 0, true);
        asm.lea(RAX, Some(A), None, 0, false);
        asm.mov_imm32(B, 32);
        asm.shrx(RDX, A, B);
    }

    /// A register ← a word of the frame.
    fn give(&mut self, register: Register, field: i32) -> Next {
        let Some(number) = gpr_number(register) else { return Next::Interpret };
        let target = if is_spilled(number) { A } else { number };
        self.asm.load_frame(target, field);
        if register.size() == 4 {
            self.asm.lea(target, Some(target), None, 0, false);
        }
        if is_spilled(number) {
            self.asm.store_frame(gpr_at(number), A);
        }
        Next::Following
    }

    /// A base ← a register. What is not canonical is for the reference CPU to refuse.
    fn take(&mut self, register: Register, field: i32) -> Next {
        let Some(number) = gpr_number(register) else { return Next::Interpret };
        if is_spilled(number) {
            self.asm.load_frame(A, gpr_at(number));
        } else {
            self.asm.mov(A, number);
        }
        if register.size() == 4 {
            self.asm.lea(A, Some(A), None, 0, false);
            self.asm.store_frame(field, A);
            return Next::Following;
        }
        // Bits 47–63 alike: the sum with bit 47 has nothing above that.
        self.asm.save_flags(at!(saved_flags));
        self.asm.mov(B, A);
        self.asm.shift_right_signed(B, 47);
        self.asm.lea(B, Some(B), None, 1, true);
        self.asm.shift_right(B, 1);
        let odd = self.asm.jcc(NOT_ZERO);
        self.go_slow(odd);
        self.asm.restore_flags(at!(saved_flags));
        self.asm.store_frame(field, A);
        self.restore_c();
        Next::Following
    }

    /// MOV from a segment register to a general one.
    fn read_selector(&mut self, instruction: &Instruction, register: Register) -> Next {
        let field = match register {
            Register::ES => at!(selectors),
            Register::DS => at!(selectors) + 8,
            Register::FS => at!(selectors) + 16,
            Register::GS => at!(selectors) + 24,
            Register::CS => at!(selectors) + 32,
            Register::SS => at!(selectors) + 40,
            _ => return Next::Interpret,
        };
        if instruction.op0_kind() != OpKind::Register {
            return Next::Interpret;
        }
        let to = instruction.op0_register();
        if to.size() > 2 {
            return self.give(to, field);
        }
        let Some(number) = gpr_number(to) else { return Next::Interpret };
        self.asm.load_frame(A, field);
        let spilled = is_spilled(number);
        if spilled {
            self.asm.load_frame(B, gpr_at(number));
        }
        let to = if spilled { Register::R14W } else { to };
        let Ok(word) = Instruction::with2(Code::Mov_rm16_r16, to, Register::R15W) else {
            return Next::Interpret;
        };
        if !self.encode(&word) {
            return Next::Interpret;
        }
        if spilled {
            self.asm.store_frame(gpr_at(number), B);
        }
        Next::Following
    }
}
