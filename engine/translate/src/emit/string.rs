//! MOVS, STOS and LODS with the direction flag clear.
//!
//! A repeated one runs natively as long as it stays within one page on each side: the pointers become host
//! addresses for its duration. The rest (more than a page, other address sizes, CMPS, SCAS, DF set) is the
//! interpreter's, which goes page by page.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::assembler::{A, B, C};
use super::block::{Emitter, Key, Next};
use crate::frame::at;

const RCX: u8 = 1;
const RSI: u8 = 6;
const RDI: u8 = 7;
const ABOVE: u8 = 7;
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
        self.asm.mov(A, RDI);
        self.look_up(A, usize::from(size), true);
        if !repeated {
            self.asm.store_sized(A, B, 0, size);
            self.advance(RDI, size);
            return;
        }
        self.touch();
        self.asm.save_flags(at!(saved_flags));
        self.stays_in_page(RDI, size);
        self.asm.lea(RDI, Some(A), Some((B, 0)), 0, true);
        self.asm.repeat(0xaa, size);
        self.asm.subtract(RDI, B);
        self.asm.restore_flags(at!(saved_flags));
        self.restore_c();
    }

    fn move_string(&mut self, size: u8, repeated: bool) {
        self.asm.mov(A, RSI);
        self.look_up(A, usize::from(size), false);
        if repeated {
            self.touch();
            self.asm.lea(A, Some(A), Some((B, 0)), 0, true);
            self.asm.store_frame(at!(target), A);
        } else {
            self.asm.load_sized(C, A, B, size);
            self.asm.store_frame(at!(target), C);
            self.restore_c();
        }
        self.asm.mov(A, RDI);
        self.look_up(A, usize::from(size), true);
        if !repeated {
            self.asm.load_frame(C, at!(target));
            self.asm.store_sized(A, B, C, size);
            self.restore_c();
            self.advance(RSI, size);
            self.advance(RDI, size);
            return;
        }
        self.touch();
        self.asm.save_flags(at!(saved_flags));
        self.stays_in_page(RDI, size);
        self.stays_in_page(RSI, size);
        self.asm.lea(C, Some(RSI), Some((RCX, size.trailing_zeros() as u8)), 0, true);
        self.asm.load_frame(RSI, at!(target));
        self.asm.lea(RDI, Some(A), Some((B, 0)), 0, true);
        self.asm.repeat(0xa4, size);
        self.asm.subtract(RDI, B);
        self.asm.mov(RSI, C);
        self.asm.restore_flags(at!(saved_flags));
        self.restore_c();
    }

    /// Goes to the interpreter unless RCX elements from `pointer` on lie in its page. Uses C; the flags are saved.
    fn stays_in_page(&mut self, pointer: u8, size: u8) {
        self.asm.compare_imm32(RCX, PAGE / u32::from(size));
        let many = self.asm.jcc(ABOVE);
        self.slow.push((many, self.offset));
        self.asm.mov(C, pointer);
        self.asm.and_imm32(C, PAGE - 1);
        self.asm.lea(C, Some(C), Some((RCX, size.trailing_zeros() as u8)), 0, true);
        self.asm.compare_imm32(C, PAGE);
        let beyond = self.asm.jcc(ABOVE);
        self.slow.push((beyond, self.offset));
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
