//! Branches.
//!
//! A direct branch within the page is one jump, linked to its target's near entry: whoever may execute
//! the page may execute all of it. Every other branch computes the guest address in A and looks it up in
//! the context's jump cache, without touching a flag:
//!
//! ```text
//!   B ← A & 65535 (movzx)       C ← rcx
//!   rcx ← gs:[slot.minus_target] + A
//!   jrcxz hit                   miss: restore rcx, leave with Indirect
//!   hit: rcx ← C, C ← write table, jmp gs:[slot.host]          (the target's far entry)
//! ```

use iced_x86::{Code, Decoder, DecoderError, Instruction, OpKind};
use x86::paging::is_canonical;

use super::assembler::{A, B, C};
use super::block::{Emitter, Key, LONGEST_INSTRUCTION, Next};
use super::operand::{gpr_number, is_spilled};
use super::shared::{Place, jump_by_cache};
use crate::frame::{ExitKind, at, gpr_at};

const RSP: u8 = 4;

impl Emitter<'_> {
    /// Jcc. Others that are conditional (LOOP, JRCXZ) are the interpreter's.
    pub fn conditional(&mut self, instruction: &Instruction, key: Key) -> Next {
        if !instruction.is_jcc_short_or_near() {
            return Next::Interpret;
        }
        let condition = instruction.condition_code() as u8 - 1;
        let target = instruction.near_branch_target() as i64;
        if let Some(target) = self.within(target) {
            let hole = self.asm.jcc(CONDITIONS[usize::from(condition)]);
            self.link(hole, target);
        } else {
            // Around the far jump by the opposite condition.
            let skip = self.asm.jcc(CONDITIONS[usize::from(condition)] ^ 1);
            self.jump_across(target, key);
            self.asm.land(skip);
        }
        Next::Following
    }

    /// Unconditional branches, calls and returns.
    pub fn branch(&mut self, instruction: &Instruction, key: Key) -> Next {
        match instruction.code() {
            Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => {
                let target = instruction.near_branch_target() as i64;
                match self.within(target) {
                    Some(target) => self.jump_within(target),
                    None => self.jump_across(target, key),
                }
            }
            Code::Call_rel32_64 => {
                let target = instruction.near_branch_target() as i64;
                self.push_return(instruction, key);
                self.expect_return(instruction.next_ip() as i32, key);
                match self.within(target) {
                    Some(target) => self.jump_within(target),
                    None => self.jump_across(target, key),
                }
            }
            Code::Jmp_rm64 => {
                if !self.indirect_target(instruction) {
                    return Next::Interpret;
                }
                self.jump_indirect(key);
            }
            Code::Call_rm64 => {
                if !self.indirect_target(instruction) {
                    return Next::Interpret;
                }
                self.asm.store_frame(at!(target), A);
                let next = instruction.next_ip() as i32;
                self.push(|emitter| {
                    emitter.asm.load(C, A, B);
                    emitter.asm.store_frame(at!(under_call), C);
                    emitter.asm.load_frame(C, at!(page));
                    emitter.asm.lea(C, Some(C), None, next, true);
                    C
                });
                self.expect_return(next, key);
                self.asm.load_frame(A, at!(target));
                self.jump_indirect(key);
            }
            Code::Retnq | Code::Retnq_imm16 => {
                let released = if instruction.code() == Code::Retnq { 0 } else { instruction.immediate16() };
                self.look_up(RSP, 8, false);
                self.asm.load(A, RSP, B);
                self.asm.lea(RSP, Some(RSP), None, 8 + i32::from(released), true);
                self.return_as_expected(key);
                self.jump_indirect(key);
            }
            Code::Syscall => return self.system_call(instruction.next_ip() as i32, key),
            Code::Sysretq => return self.system_return(key),
            _ => return Next::Interpret,
        }
        Next::End
    }

    /// The offset, if it lies in the page and the instruction there does not run on into the next page: that one's mapping
    /// is not this block's business.
    pub fn within(&self, target: i64) -> Option<u16> {
        let offset = u16::try_from(target).ok().filter(|_| in_page(target))?;
        let left = self.page.get(usize::from(offset)..)?;
        (!runs_on(left, self.surroundings.decoder_options())).then_some(offset)
    }

    /// Jumps to an offset of the same page.
    pub fn jump_within(&mut self, target: u16) {
        let hole = self.asm.jmp();
        self.link(hole, target);
    }

    /// Jumps to an offset from the page's start: out of the page, or to an instruction that runs on into the next
    /// one. By a link where the page and the target's are global, otherwise by the jump cache.
    pub fn jump_across(&mut self, target: i64, key: Key) {
        if key.direct {
            let hole = self.asm.jmp();
            return self.direct_link(hole, target, key);
        }
        if let Some(page) = key.at
            && !in_page(target)
            && key.jumps()
        {
            let target = page.wrapping_add(target as u64);
            if is_canonical(target) {
                self.enter_page(target & !(base::PAGE_SIZE - 1));
                let hole = self.asm.jmp();
                self.link_across(hole, target);
                return;
            }
        }
        self.asm.load_frame(A, at!(page));
        self.asm.lea(A, Some(A), None, target as i32, true);
        self.jump_indirect(key);
    }

    /// Leaves the target of an indirect branch in A.
    fn indirect_target(&mut self, instruction: &Instruction) -> bool {
        if instruction.op0_kind() == OpKind::Register {
            let Some(number) = gpr_number(instruction.op0_register()) else { return false };
            if is_spilled(number) {
                self.asm.load_frame(A, gpr_at(number));
            } else {
                self.asm.mov(A, number);
            }
            return true;
        }
        let Some(from) = self.linear_address(instruction) else { return false };
        self.look_up(from, 8, false);
        self.asm.load(A, from, B);
        true
    }

    fn push_return(&mut self, instruction: &Instruction, key: Key) {
        let next = instruction.next_ip() as i32;
        self.push(|emitter| {
            match key.at {
                Some(page) => emitter.asm.mov_imm64(C, page.wrapping_add(next as u64)),
                None => {
                    emitter.asm.load_frame(C, at!(page));
                    emitter.asm.lea(C, Some(C), None, next, true);
                }
            }
            C
        });
    }

    /// Jumps to the guest address in A by the jump cache.
    pub fn jump_indirect(&mut self, key: Key) {
        let offset = u32::from(self.offset);
        if !key.jumps() {
            return self.leave(ExitKind::Indirect, offset);
        }
        let mut missed = None;
        jump_by_cache(&mut self.asm, |asm| {
            asm.mov_imm32(B, offset);
            missed = Some(asm.jmp());
        });
        self.to_shared.extend(missed.map(|hole| (hole, Place::Second)));
    }
}

/// Does the instruction need more than these bytes, which are those up to the end of its page?
pub(crate) fn runs_on(left: &[u8], decoder_options: u32) -> bool {
    if left.len() >= LONGEST_INSTRUCTION {
        return false;
    }
    let mut decoder = Decoder::new(64, left, decoder_options);
    let _ = decoder.decode();
    decoder.last_error() == DecoderError::NoMoreBytes
}

/// Does the offset lie in the page?
fn in_page(target: i64) -> bool {
    (0..base::PAGE_SIZE as i64).contains(&target)
}

/// iced's condition codes (o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g) are in the order of
/// the encoding already; the table says so.
const CONDITIONS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
