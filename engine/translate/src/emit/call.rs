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
/// CS among the selectors of the frame; SS is the next.
const CODE_SELECTOR: i32 = 4;
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
        self.asm.save_flags(at!(saved_flags));
        self.asm.compare_frame_zero(at!(call_target));
        let off = self.asm.jcc(ZERO);
        self.go_slow(off);
        self.asm.increment_frame(at!(calls));
        self.asm.status_to_a(at!(saved_flags));
        for part in [at!(system_flags), at!(interrupts), at!(ac)] {
            self.asm.or_frame(A, part);
        }
        self.asm.mov(R11, A);
        self.asm.load_frame(RCX, at!(page));
        self.asm.lea(RCX, Some(RCX), None, next, true);
        self.asm.load_frame(B, at!(system_flags));
        self.asm.and_frame(B, at!(call_keeps));
        self.asm.store_frame(at!(system_flags), B);
        self.asm.store_frame_imm(at!(interrupts), 0);
        self.asm.store_frame_imm(at!(ac), 0);
        self.asm.store_frame_imm(at!(user), 0);
        self.switch_selectors(false);
        self.asm.store_frame_imm(at!(switched), 1);
        self.asm.load_frame(A, at!(views));
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
        self.asm.save_flags(at!(saved_flags));
        self.asm.compare_frame_zero(at!(call_target));
        let off = self.asm.jcc(ZERO);
        self.go_slow(off);
        // Only addresses of the lower half: the others are rare, and some are not canonical.
        self.asm.mov(A, RCX);
        self.asm.shift_right(A, 47);
        let high = self.asm.jcc(NOT_ZERO);
        self.go_slow(high);
        self.asm.test_imm32(R11, (flags::ALL & !LOADED) as u32);
        let unusual = self.asm.jcc(NOT_ZERO);
        self.go_slow(unusual);
        self.asm.test_imm32(R11, flags::IF as u32);
        let masked = self.asm.jcc(ZERO);
        self.asm.compare_frame_zero(at!(event_waits));
        let waits = self.asm.jcc(NOT_ZERO);
        self.go_slow(waits);
        self.asm.land(masked);
        self.asm.mov(B, R11);
        self.asm.and_imm32(B, flags::IF as u32);
        self.asm.store_frame(at!(interrupts), B);
        self.asm.store_frame_imm(at!(system_flags), flags::RESERVED_ONE as u32);
        self.asm.store_frame_imm(at!(ac), 0);
        self.asm.store_frame_imm(at!(user), 1);
        self.switch_selectors(true);
        self.asm.store_frame_imm(at!(switched), 1);
        self.asm.load_frame(A, at!(user_view));
        self.switch_context();
        self.asm.mov(A, R11);
        self.asm.load_status_from_a();
        self.asm.mov(A, RCX);
        self.restore_c();
        self.jump_indirect(key);
        Next::End
    }

    /// CS and SS are now what SYSCALL or SYSRET has loaded. Uses B.
    fn switch_selectors(&mut self, user: bool) {
        for n in 0..2 {
            self.asm.load_frame(B, at!(call_selectors) + 16 * i32::from(user) + 8 * n);
            self.asm.store_frame(at!(selectors) + 8 * (CODE_SELECTOR + n), B);
        }
    }
}
