//! What all blocks share, at the start of the code cache: the exits, and the jump by the jump cache.
//!
//! A block leaves with the value in B and a jump to the exit of its kind; that is eleven bytes in the block, whose code should lie close
//! together, instead of thirty-odd.
//!
//! ```text
//!   block:   mov r14d, value;  jmp exit
//!   exit:    mov gs:[exit_value], r14;  mov gs:[exit_kind], kind;  jmp gs:[leave]
//! ```

use super::assembler::{A, Assembler, B, C};
use crate::frame::{ExitKind, at};
use crate::map::{JUMP_AT, SECOND_BITS, SECOND_JUMP_AT};

/// A place in the shared code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Leaves translated code with what B holds; an indirect branch with its target in A.
    Exit(ExitKind),
    /// Goes to the guest address in A, which is canonical, by the jump cache.
    Jump,
    /// Goes to the guest address in A, which the first half of the jump cache does not know, by the second half; B
    /// holds the value of an exit for an indirect branch.
    Second,
}

/// A jump in a block that leads to a place in the shared code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToShared {
    /// Where its displacement is, in bytes from the start of the block.
    pub at: u32,
    pub place: Place,
}

const EXITS: [ExitKind; 8] = [
    ExitKind::Interpret,
    ExitKind::Link,
    ExitKind::Indirect,
    ExitKind::Fault,
    ExitKind::Continue,
    ExitKind::InterpretFpu,
    ExitKind::Missed,
    ExitKind::Call,
];

/// The shared code, to be placed at the start of the cache.
pub(crate) struct Shared {
    pub code: Vec<u8>,
    exits: [u32; EXITS.len()],
    jump: u32,
    second: u32,
}

impl Shared {
    pub fn new() -> Self {
        let mut asm = Assembler::default();
        let exits = EXITS.map(|kind| {
            let here = asm.here() as u32;
            if kind == ExitKind::Indirect {
                asm.store_frame(at!(target), A);
            }
            asm.store_frame(at!(exit_value), B);
            asm.store_frame_imm(at!(exit_kind), kind as u32);
            asm.jump_frame(at!(leave));
            here
        });
        let second = asm.here() as u32;
        asm.store_frame(at!(spare), B);
        asm.rorx(B, A, SECOND_BITS);
        let mut missed = None;
        jump_by_slot(&mut asm, B, SECOND_JUMP_AT, |asm| {
            asm.load_frame(B, at!(spare));
            missed = Some(asm.jmp());
        });
        let jump = asm.here() as u32;
        let mut unknown = None;
        jump_by_cache(&mut asm, |asm| {
            asm.mov_imm32(B, 0);
            unknown = Some(asm.jmp());
        });
        let mut shared = Self { code: Vec::new(), exits, jump, second };
        let exit = exits_of(&shared.exits, ExitKind::Indirect);
        for (hole, to) in
            missed.map(|hole| (hole, exit)).into_iter().chain(unknown.map(|hole| (hole, second)))
        {
            let displacement = to.wrapping_sub(Assembler::position(&hole) as u32 + 4);
            asm.patch(hole, displacement);
        }
        shared.code = asm.code;
        shared
    }

    /// The offset of a place.
    pub fn at(&self, place: Place) -> u32 {
        match place {
            Place::Exit(kind) => exits_of(&self.exits, kind),
            Place::Jump => self.jump,
            Place::Second => self.second,
        }
    }
}

fn exits_of(exits: &[u32; EXITS.len()], kind: ExitKind) -> u32 {
    EXITS.iter().position(|&exit| exit == kind).map_or(0, |n| exits[n])
}

/// Goes to the guest address in A by the first half of the jump cache, or to what `miss` emits (at most 100 bytes, which
/// do not fall through), B and C being free there.
pub(crate) fn jump_by_cache(asm: &mut Assembler, miss: impl FnOnce(&mut Assembler)) {
    jump_by_slot(asm, A, JUMP_AT, miss);
}

/// The same by the half at `table`, the low 16 bits of `from` being the slot.
fn jump_by_slot(asm: &mut Assembler, from: u8, table: i32, miss: impl FnOnce(&mut Assembler)) {
    asm.movzx16(B, from);
    asm.lea(B, Some(B), Some((B, 0)), 0, true);
    asm.rcx_to_c();
    asm.load_rcx_gs_b(table);
    asm.add_target_to_rcx();
    let hit = asm.jrcxz();
    asm.rcx_from_c();
    miss(asm);
    asm.land_short(hit);
    asm.rcx_from_c();
    asm.load_frame(C, at!(write_table));
    asm.jump_gs_index8(B, table + 8);
}
