//! SYSCALL and SYSRET, without leaving translated code.
//!
//! Both go between the user's and the supervisor's context of one address space: GS changes, CPL is a word of
//! the frame, and what the reference CPU must know of the segments it is told when translated code is left.
//! Whatever is unusual (flags other than the arithmetic ones and IF in R11, an interrupt that waits, SYSCALL
//! that keeps arithmetic flags) is the interpreter's.

use x86::flags;

use super::assembler::{A, B};
use super::block::{Emitter, Key, Next};
use crate::frame::at;

const RCX: u8 = 1;
const R11: u8 = 11;
const ZERO: u8 = 4;
const NOT_ZERO: u8 = 5;

/// Flags in R11 that SYSRET may load by itself; RF and VM it ignores.
const LOADED: u64 = flags::STATUS | flags::IF | flags::RF | flags::VM | flags::RESERVED_ONE;

impl Emitter<'_> {
    /// SYSCALL in user code.
    pub fn system_call(&mut self, next: i32, key: Key) -> Next {
        if !key.user || key.direction {
            return Next::Interpret;
        }
        let asm = &mut self.asm;
        asm.save_flags(at!(saved_flags));
        asm.compare_frame_zero(at!(call_target));
        let off = asm.jcc(ZERO);
        self.slow.push((off, self.offset));
        asm.status_to_a(at!(saved_flags));
        for part in [at!(system_flags), at!(interrupts), at!(ac)] {
            asm.or_frame(A, part);
        }
        asm.mov(R11, A);
        asm.load_frame(RCX, at!(page));
        asm.lea(RCX, Some(RCX), None, next, true);
        asm.load_frame(B, at!(system_flags));
        asm.and_frame(B, at!(call_keeps));
        asm.store_frame(at!(system_flags), B);
        asm.store_frame_imm(at!(interrupts), 0);
        asm.store_frame_imm(at!(ac), 0);
        asm.store_frame_imm(at!(user), 0);
        asm.store_frame_imm(at!(switched), 1);
        asm.load_frame(A, at!(views));
        self.switch_context();
        self.asm.load_frame(A, at!(call_target));
        // All arithmetic flags clear: 28 is positive, not zero, and has three bits set.
        self.asm.mov_imm32(B, 28);
        self.asm.compare_imm8(B, 0);
        self.jump_indirect(key);
        Next::End
    }

    /// SYSRET to 64-bit code.
    pub fn system_return(&mut self, key: Key) -> Next {
        if key.user || key.direction {
            return Next::Interpret;
        }
        let asm = &mut self.asm;
        asm.save_flags(at!(saved_flags));
        asm.compare_frame_zero(at!(call_target));
        let off = asm.jcc(ZERO);
        self.slow.push((off, self.offset));
        // Only addresses of the lower half: the others are rare, and some are not canonical.
        asm.mov(A, RCX);
        asm.shift_right(A, 47);
        let high = asm.jcc(NOT_ZERO);
        self.slow.push((high, self.offset));
        asm.test_imm32(R11, (flags::ALL & !LOADED) as u32);
        let unusual = asm.jcc(NOT_ZERO);
        self.slow.push((unusual, self.offset));
        asm.test_imm32(R11, flags::IF as u32);
        let masked = asm.jcc(ZERO);
        asm.compare_frame_zero(at!(event_waits));
        let waits = asm.jcc(NOT_ZERO);
        self.slow.push((waits, self.offset));
        asm.land(masked);
        asm.mov(B, R11);
        asm.and_imm32(B, flags::IF as u32);
        asm.store_frame(at!(interrupts), B);
        asm.store_frame_imm(at!(system_flags), flags::RESERVED_ONE as u32);
        asm.store_frame_imm(at!(ac), 0);
        asm.store_frame_imm(at!(user), 1);
        asm.store_frame_imm(at!(switched), 1);
        asm.load_frame(A, at!(user_view));
        self.switch_context();
        self.asm.mov(A, R11);
        self.asm.load_status_from_a();
        self.asm.mov(A, RCX);
        self.restore_c();
        self.jump_indirect(key);
        Next::End
    }
}
