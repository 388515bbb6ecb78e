//! Returns: a call notes where it will return to, in a ring of sixteen, and the return looks there first.
//!
//! Each entry is the complement of the guest's address and the host address of a stub in the caller's block, from where a
//! link leads on. There is a ring for each privilege level, in the frame, so supervisor code is never led into what was
//! translated for the user. A return takes the last entry whether it fits or not, so that calls and returns stay in
//! step; one that does not fit goes by the jump cache.
//!
//! ```text
//!   call:  B ← top + 16 (mod 256), top ← B; ring[B] ← not(return address), stub
//!   ret:   B ← top, top ← B - 16;  rcx ← ring[B] + target + 1;  jrcxz hit
//! ```
//!
//! Rust forgets both rings when an address may have come to mean something else: after every flush of the guest's, when
//! the address space changes, when the code cache is emptied, and when translations come to depend on other things.

use super::assembler::{A, B, C};
use super::block::{Emitter, Key};
use crate::frame::{Frame, RING_STEP, Return, Ring, at};

/// The offset from GS of a ring's top, and of its entries.
fn ring_at(key: Key) -> (i32, i32) {
    let ring = at!(rings) + i32::from(key.user) * size_of::<Ring>() as i32;
    (ring + std::mem::offset_of!(Ring, top) as i32, ring + std::mem::offset_of!(Ring, returns) as i32)
}

const HOST: i32 = std::mem::offset_of!(Return, host) as i32;

impl Emitter<'_> {
    /// Notes that a call returns to the offset `next` from the page's start. Uses A and B.
    pub fn expect_return(&mut self, next: i32, key: Key) {
        if !key.jumps() {
            return;
        }
        let (top, ring) = ring_at(key);
        let within = self.within(i64::from(next));
        let asm = &mut self.asm;
        asm.load_frame(B, top);
        asm.lea(B, Some(B), None, RING_STEP, false);
        asm.movzx8(B, B);
        asm.store_frame(top, B);
        match within {
            Some(offset) => {
                match key.at {
                    Some(page) => asm.mov_imm64(A, !page.wrapping_add(u64::from(offset))),
                    None => {
                        asm.load_frame(A, at!(page));
                        asm.lea(A, Some(A), None, next, true);
                        asm.not(A);
                    }
                }
                asm.store_gs_b(ring, A);
                let hole = asm.lea_hole(A);
                self.returns.push((hole, offset));
            }
            // Behind the page's end, or across it.
            None => {
                asm.mov_imm32(A, 0);
                asm.store_gs_b(ring, A);
                asm.load_frame(A, at!(no_return));
            }
        }
        self.asm.store_gs_b(ring + HOST, A);
    }

    /// Goes to the expected return if that is what A holds; falls through otherwise. Uses B and C.
    pub fn return_as_expected(&mut self, key: Key) {
        if !key.jumps() {
            return;
        }
        let (top, ring) = ring_at(key);
        let asm = &mut self.asm;
        asm.load_frame(B, top);
        asm.lea(C, Some(B), None, -RING_STEP, false);
        asm.movzx8(C, C);
        asm.store_frame(top, C);
        asm.rcx_to_c();
        asm.load_gs_b(1, ring);
        asm.add_target_and_one_to_rcx();
        let hit = asm.jrcxz();
        asm.rcx_from_c();
        let miss = asm.jmp();
        asm.land_short(hit);
        asm.rcx_from_c();
        self.restore_c();
        self.asm.jump_gs_b(ring + HOST);
        self.asm.land(miss);
    }

    /// The stubs that returns come to, with their address in A.
    pub fn return_stubs(&mut self, key: Key) {
        for (hole, offset) in std::mem::take(&mut self.returns) {
            self.asm.land(hole);
            self.offset = offset;
            self.mark(offset);
            match key.at {
                Some(page) => self.enter_page(page),
                None => {
                    self.asm.lea(B, Some(A), None, -i32::from(offset), true);
                    self.asm.store_frame(at!(page), B);
                }
            }
            self.jump_within(offset);
        }
    }
}

/// Forgets both rings.
pub(crate) fn forget(frame: &mut Frame) {
    let none = Return { not_address: 0, host: frame.no_return };
    for ring in &mut frame.rings {
        ring.returns = [none; crate::frame::RING];
    }
}
