//! CLI, STI, PUSHFQ, POPFQ: what kernels do around every lock; CLAC, STAC, SWAPGS: at every system call.
//!
//! IF is a word of the frame; the other system flags are constant while translated code runs. Whatever would
//! change those, or let a waiting interrupt in, is the interpreter's.

use iced_x86::{Instruction, Mnemonic};
use x86::flags;

use super::assembler::{A, B, C};
use super::block::{Emitter, Key, Next};
use crate::frame::at;

const RSP: u8 = 4;
const ZERO: u8 = 4;
const NOT_ZERO: u8 = 5;

/// Flags that POPFQ may load by itself: the arithmetic ones, IF, and RF, which it clears.
const LOADED: u64 = flags::STATUS | flags::IF | flags::RF | flags::VM | flags::RESERVED_ONE;

impl Emitter<'_> {
    /// Translates an instruction on system flags.
    pub fn flag_instruction(&mut self, instruction: &Instruction, key: Key) -> Next {
        match instruction.mnemonic() {
            Mnemonic::Pushfq => {
                self.asm.save_flags(at!(saved_flags));
                self.asm.status_to_a(at!(saved_flags));
                self.asm.or_frame(A, at!(system_flags));
                self.asm.or_frame(A, at!(interrupts));
                self.asm.or_frame(A, at!(ac));
                self.asm.store_frame(at!(target), A);
                self.asm.restore_flags(at!(saved_flags));
                self.restore_c();
                self.push(|emitter| {
                    emitter.asm.load_frame(C, at!(target));
                    C
                });
                Next::Following
            }
            Mnemonic::Cli if !key.user => {
                self.asm.store_frame_imm(at!(interrupts), 0);
                Next::Following
            }
            // `sti; hlt` must be whole, which needs the interrupt shadow.
            Mnemonic::Sti if !key.user && !self.stays_together => {
                self.asm.load_frame(B, at!(sti_poll));
                self.asm.load_plain(B, B);
                self.asm.store_frame_imm(at!(interrupts), flags::IF as u32);
                Next::Following
            }
            // SMAP's override: the view with AC set has a context of its own.
            Mnemonic::Clac | Mnemonic::Stac if !key.user => {
                let set = usize::from(instruction.mnemonic() == Mnemonic::Stac);
                self.asm.store_frame_imm(at!(ac), if set == 1 { flags::AC as u32 } else { 0 });
                self.asm.load_frame(A, at!(views) + 8 * set as i32);
                self.switch_context();
                Next::Following
            }
            Mnemonic::Swapgs if !key.user => {
                self.asm.load_frame(A, at!(gs_base));
                self.asm.load_frame(B, at!(kernel_gs_base));
                self.asm.store_frame(at!(kernel_gs_base), A);
                self.asm.store_frame(at!(gs_base), B);
                Next::Following
            }
            Mnemonic::Popfq if !key.user => {
                self.pop_flags();
                Next::Following
            }
            _ => Next::Interpret,
        }
    }

    fn pop_flags(&mut self) {
        self.look_up(RSP, 8, false);
        self.asm.load(A, RSP, B);
        self.asm.save_flags(at!(saved_flags));
        self.asm.mov(B, A);
        self.asm.xor_frame(B, at!(system_flags));
        self.asm.xor_frame(B, at!(ac));
        self.asm.and_imm32(B, (flags::ALL & !LOADED) as u32);
        let changes = self.asm.jcc(NOT_ZERO);
        self.go_slow(changes);
        self.asm.test_imm32(A, flags::IF as u32);
        let off = self.asm.jcc(ZERO);
        self.asm.compare_frame_zero(at!(event_waits));
        let waits = self.asm.jcc(NOT_ZERO);
        self.go_slow(waits);
        self.asm.land(off);
        self.asm.mov(B, A);
        self.asm.and_imm32(B, flags::IF as u32);
        self.asm.store_frame(at!(interrupts), B);
        self.asm.load_status_from_a();
        self.asm.lea(RSP, Some(RSP), None, 8, true);
        self.restore_c();
    }
}
