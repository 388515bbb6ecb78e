//! Memory operands: the guest address into A, the addend into B, and the checks.
//!
//! ```text
//!   lea   A, [guest address]             (+ FS or GS base)
//!   rorx  B, A, 48                       bits 0–47 to the top
//!   shrx  B, B, C                        C = 28: bits 12–47, the page number
//!   lea   B, [B + B]
//!   mov   B, gs:[B*8 + read or write]    the addend; into the guard where nothing is mapped
//!   mov   C, 64 - log2(size)
//!   shlx  C, A, C                        the misaligned bits, at the top
//!   rorx  C, C, …                        and from there to bit 38
//!   lea   A, [A + C]                     a misaligned address ends up in the guard behind RAM
//!   mov   C, 28
//!   …the instruction on [A + B]
//! ```
//!
//! No flag is touched and nothing is compared: absent, forbidden, misaligned and non-canonical all end in
//! the same fault of the host. A site that turns out to be misaligned often is translated with an exact test
//! for page crossing instead.

use iced_x86::{Instruction, Register};

use super::assembler::{A, Assembler, B, C, SHIFT};
use super::block::Emitter;
use crate::frame::{at, gpr_at};

/// Where the misaligned bits go: each of their values leads from RAM (and from the guard page) to another place in
/// [`base::GUARDED`] where nothing is mapped. At the top of the address they could be cancelled by what the
/// guest has there.
const MISALIGNED_AT: u32 = 38;

/// Condition codes of Jcc.
const BELOW: u8 = 2;
const NOT_ZERO: u8 = 5;

/// How a site's accesses are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Site {
    /// Natural alignment: the fast way, nearly always right.
    #[default]
    Aligned,
    /// Any alignment that stays in the page.
    Unaligned,
    /// Any alignment, and a comparison before the access: for sites that often meet device memory or pages
    /// under watch.
    Checked,
}

/// A guest register that has no host register: 13, 14 and 15 are our scratch.
pub(crate) fn is_spilled(register: u8) -> bool {
    register >= 13
}

/// The number of a general register of any width.
pub(crate) fn gpr_number(register: Register) -> Option<u8> {
    register.is_gpr().then(|| register.full_register().number() as u8)
}

/// AH, BH, CH, DH: not to be had in an instruction with REX.
pub(crate) fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::BH | Register::CH | Register::DH)
}

impl Emitter<'_> {
    /// Leaves the linear address of the memory operand in A. False if this address form is not for us.
    pub fn linear_address(&mut self, instruction: &Instruction) -> bool {
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let displacement = instruction.memory_displacement64() as i64;
        let Ok(disp) = i32::try_from(displacement) else { return false };
        if base == Register::EIP
            || index.is_vector_register()
            || instruction.memory_displ_size() == 8 && base == Register::None && index == Register::None
        {
            // A 64-bit displacement without registers is either moffs or a plain disp32.
            if instruction.memory_displ_size() != 8 || base == Register::EIP || index.is_vector_register() {
                return false;
            }
        }
        let asm = &mut self.asm;
        if base == Register::RIP {
            // The decoder runs as if the page were at zero, so this is relative to the page.
            asm.load_frame(A, at!(page));
            asm.lea(A, Some(A), None, disp, true);
        } else {
            let host = |asm: &mut Assembler, register: Register, scratch: u8| {
                let number = gpr_number(register)?;
                Some(if is_spilled(number) {
                    asm.load_frame(scratch, gpr_at(number));
                    scratch
                } else {
                    number
                })
            };
            let base_host = host(asm, base, A);
            let index_host = host(asm, index, B);
            let scale = instruction.memory_index_scale().trailing_zeros() as u8;
            let wide = !(base.is_gpr32() || index.is_gpr32());
            asm.lea(A, base_host, index_host.map(|i| (i, scale)), disp, wide);
        }
        match instruction.memory_segment() {
            Register::FS => self.add_base(at!(fs_base)),
            Register::GS => self.add_base(at!(gs_base)),
            _ => {}
        }
        true
    }

    fn add_base(&mut self, field: i32) {
        self.asm.load_frame(B, field);
        self.asm.lea(A, Some(A), Some((B, 0)), 0, true);
    }

    /// Looks A up for an access of `size` bytes: afterwards [A + B] is the host's address, or faults.
    pub fn look_up(&mut self, size: usize, write: bool) {
        let checked = self.site == Site::Checked;
        let asm = &mut self.asm;
        if checked || size > 1 && self.site == Site::Unaligned {
            asm.save_flags(at!(saved_flags));
            asm.compare_pages((size - 1) as u8);
            let crossing = asm.jcc(NOT_ZERO);
            self.misses.push((crossing, self.offset));
            if !checked {
                asm.restore_flags(at!(saved_flags));
            }
            asm.mov_imm32(C, SHIFT);
        }
        asm.rorx(B, A, 48);
        asm.shrx(B, B, C);
        asm.lea(B, Some(B), Some((B, 0)), 0, true);
        if checked {
            // The table itself may not be open here: then this faults while the flags are in the frame.
            self.flagless.push(asm.here() as u32);
        }
        asm.load_gs_index8(B, B, if write { 8 } else { 0 });
        if checked {
            asm.lea(C, Some(A), Some((B, 0)), 0, true);
            asm.subtract_frame(C, at!(guard));
            asm.compare_imm32(C, base::PAGE_SIZE as u32);
            let absent = asm.jcc(BELOW);
            self.misses.push((absent, self.offset));
            asm.restore_flags(at!(saved_flags));
            asm.mov_imm32(C, SHIFT);
        }
        if size > 1 && self.site == Site::Aligned {
            let log2 = size.next_power_of_two().trailing_zeros();
            asm.mov_imm32(C, 64 - log2);
            asm.shlx(C, A, C);
            asm.rorx(C, C, (64 - log2 - MISALIGNED_AT) as u8);
            asm.lea(A, Some(A), Some((C, 0)), 0, true);
            asm.mov_imm32(C, SHIFT);
        }
    }
}
