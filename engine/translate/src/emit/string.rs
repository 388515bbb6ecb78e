//! MOVS, STOS and LODS with the direction flag clear.
//!
//! A repeated one runs natively, in pieces that stay within one page on each side: the pointers become host
//! addresses for a piece. Between two pieces the guest's registers say what remains, as they would after an
//! interrupt. The rest (other address sizes, CMPS, SCAS, DF set) is the interpreter's.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::assembler::{A, B, C};
use super::block::{Emitter, Key, Next};
use crate::frame::at;

const RCX: u8 = 1;
const RSI: u8 = 6;
const RDI: u8 = 7;
const NOT_ZERO: u8 = 5;
const PAGE: u32 = base::PAGE_SIZE as u32;

impl Emitter<'_> {
    /// Translates a string instruction.
    pub fn string(&mut self, instruction: &Instruction, key: Key) -> Next {
        let plain = (0..instruction.op_count()).all(|n| match instruction.op_kind(n) {
            OpKind::Register | OpKind::MemoryESRDI => true,
            OpKind::MemorySegRSI => !matches!(instruction.memory_segment(), Register::FS | Register::GS),
            _ => false,
        });
        let size = instruction.memory_size().size();
        if key.direction || !plain || !matches!(size, 1 | 2 | 4 | 8) {
            return Next::Interpret;
        }
        let size = size as u8;
        let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        match instruction.mnemonic() {
            Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
                self.store_string(size, repeated);
            }
            Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => {
                self.move_string(size, repeated);
            }
            Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq if !repeated => {
                self.asm.mov(A, RSI);
                self.look_up(A, usize::from(size), false);
                self.asm.load_sized(0, A, B, size);
                self.advance(RSI, size);
            }
            _ => return Next::Interpret,
        }
        Next::Following
    }

    fn store_string(&mut self, size: u8, repeated: bool) {
        let start = self.asm.here();
        self.asm.mov(A, RDI);
        if !repeated {
            self.look_up(A, usize::from(size), true);
            self.asm.store_sized(A, B, 0, size);
            self.advance(RDI, size);
            return;
        }
        self.look_up(A, 1, true);
        self.touch();
        self.asm.save_flags(at!(saved_flags));
        self.cut(&[RDI], size);
        self.asm.lea(RDI, Some(RDI), Some((B, 0)), 0, true);
        self.asm.repeat(0xaa, size);
        self.asm.subtract(RDI, B);
        self.go_on(start);
    }

    fn move_string(&mut self, size: u8, repeated: bool) {
        let start = self.asm.here();
        self.asm.mov(A, RSI);
        if !repeated {
            self.look_up(A, usize::from(size), false);
            self.asm.load_sized(C, A, B, size);
            self.asm.store_frame(at!(target), C);
            self.restore_c();
            self.asm.mov(A, RDI);
            self.look_up(A, usize::from(size), true);
            self.asm.load_frame(C, at!(target));
            self.asm.store_sized(A, B, C, size);
            self.restore_c();
            self.advance(RSI, size);
            self.advance(RDI, size);
            return;
        }
        self.look_up(A, 1, false);
        self.touch();
        self.asm.store_frame(at!(target), B);
        self.asm.mov(A, RDI);
        self.look_up(A, 1, true);
        self.touch();
        self.asm.save_flags(at!(saved_flags));
        self.cut(&[RDI, RSI], size);
        self.asm.load_frame(A, at!(target));
        self.asm.lea(RSI, Some(RSI), Some((A, 0)), 0, true);
        self.asm.lea(RDI, Some(RDI), Some((B, 0)), 0, true);
        self.asm.repeat(0xa4, size);
        self.asm.subtract(RSI, A);
        self.asm.subtract(RDI, B);
        self.go_on(start);
    }

    /// Cuts RCX down to the elements before the next end of a page, and leaves how many remain after those in the frame.
    /// An element that lies in two pages is the interpreter's. Uses C; the flags are saved.
    fn cut(&mut self, pointers: &[u8], size: u8) {
        self.asm.store_frame(at!(rest), RCX);
        for &pointer in pointers {
            self.asm.mov(C, pointer);
            self.asm.not(C);
            self.asm.and_imm32(C, PAGE - 1);
            self.asm.lea(C, Some(C), None, 1, true);
            self.asm.shift_right(C, size.trailing_zeros() as u8);
            self.asm.cut_rcx_to_c();
        }
        self.asm.subtract_from_frame(at!(rest), RCX);
        self.asm.test_self(RCX);
        let some = self.asm.jcc(NOT_ZERO);
        self.asm.load_frame(RCX, at!(rest));
        self.asm.test_self(RCX);
        let split = self.asm.jcc(NOT_ZERO);
        self.go_slow(split);
        self.asm.land(some);
    }

    /// After a piece: the flags come back, and what remains in RCX is done from the `start` on.
    fn go_on(&mut self, start: usize) {
        self.asm.load_frame(RCX, at!(rest));
        self.asm.restore_flags(at!(saved_flags));
        self.restore_c();
        let done = self.asm.jrcxz();
        self.asm.load_frame(B, at!(poll));
        self.asm.load_plain(B, B);
        self.asm.jmp_back(start);
        self.asm.land_short(done);
    }

    /// Faults now if the lookup found nothing: once the pointers are the host's it would be too late.
    fn touch(&mut self) {
        self.asm.load_sized(C, A, B, 1);
        self.restore_c();
    }

    fn advance(&mut self, pointer: u8, size: u8) {
        self.asm.lea(pointer, Some(pointer), None, i32::from(size), true);
    }
}
