//! Memory operands: the guest address into A, the addend into B, and the checks.
//!
//! ```text
//!   lea   A, [guest address]             (+ FS or GS base)
//!   pext  B, A, gs:[mask]                the page number (bits 12–43), and behind it the bits that must be
//!                                        zero in an aligned address: three of them, for eight bytes
//!   mov   B, gs:[B*8]                    the word of the page's row: the addend, if the bits are zero;
//!     or  mov B, [C + B*8]               for a write
//!   …the instruction on [A + B]
//! ```
//!
//! No flag is touched and nothing is compared: absent, forbidden, misaligned and non-canonical all end in
//! the same fault of the host. Accesses of fewer bytes leave bits out of the mask, and shift B instead:
//! `lea B, [B*2]` for four bytes, so that an aligned one still finds word 0 of the row.
//!
//! A misaligned address is wrong only if the access crosses its page. Sites that are misaligned often, and sizes that
//! seldom are aligned, are tested for that:
//!
//! ```text
//!   pext  C, A, gs:[0fffh]               the offset in the page
//!   lea   C, [C + size - 1]
//!   pext  C, C, gs:[1000h]               1 if the last byte lies in another page, otherwise 0
//!   pext  B, A, gs:[bits 12–43]
//!   lea   B, [C + B*8]                   word 1 of the row, which leads to the guard, or word 0
//! ```
//!
//! PEXT takes two hundred cycles on AMD's Zen 1 and 2. There, rotations and shifts do the same.

use iced_x86::{Instruction, Register};

use super::assembler::{A, Assembler, B, C};
use super::block::Emitter;
use crate::frame::{at, gpr_at};
use crate::map::PAGE_BITS;

/// How a site's accesses are checked, from the fastest to the most patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Site {
    /// Natural alignment: the fast way, nearly always right.
    #[default]
    Aligned,
    /// Any alignment that stays in the page.
    Unaligned,
    /// Any alignment; what crosses the page leaves without a fault.
    Crossing,
    /// That, and a comparison before the access: for sites that often meet device memory or pages under
    /// watch.
    Checked,
}

impl Site {
    /// How an access of so many bytes is checked where nothing, or this, was learnt of its site.
    pub fn for_size(self, size: usize) -> Self {
        if matches!(size, 1 | 2 | 4 | 8 | 16) { self } else { self.max(Self::Unaligned) }
    }
}

/// A memory operand that was looked up in the table for 16 bytes, which is for reads and writes alike: the next
/// instruction on the same one finds its address and addend where they are. (Only instructions on vector registers may
/// stand between: nothing in such a pair faults, or is left, without both being looked up again.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    registers: [Register; 3],
    scale: u32,
    displacement: u64,
    /// The host register that has the address.
    pub from: u8,
}

impl Operand {
    /// The operand of an instruction, whose address was computed into `from`.
    pub fn new(instruction: &Instruction, from: u8) -> Self {
        Self {
            registers: [instruction.memory_base(), instruction.memory_index(), instruction.memory_segment()],
            scale: instruction.memory_index_scale(),
            displacement: instruction.memory_displacement64(),
            from,
        }
    }
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
    /// The host register that has the linear address of the memory operand: A, where it must be computed,
    /// or the operand's own base. `None` if this address form is not for us; nothing is emitted then.
    pub fn linear_address(&mut self, instruction: &Instruction) -> Option<u8> {
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let displacement = instruction.memory_displacement64() as i64;
        let disp = i32::try_from(displacement).ok()?;
        if base == Register::EIP
            || index.is_vector_register()
            || instruction.memory_displ_size() == 8 && base == Register::None && index == Register::None
        {
            // A 64-bit displacement without registers is either moffs or a plain disp32.
            if instruction.memory_displ_size() != 8 || base == Register::EIP || index.is_vector_register() {
                return None;
            }
        }
        let segment = instruction.memory_segment();
        let plain = index == Register::None && disp == 0 && !matches!(segment, Register::FS | Register::GS);
        if plain
            && base.is_gpr64()
            && let Some(number) = gpr_number(base).filter(|&number| !is_spilled(number))
        {
            return Some(number);
        }
        let asm = &mut self.asm;
        if base == Register::RIP {
            // The decoder runs as if the page were at zero, so this is relative to the page.
            if let Some(page) = self.at {
                asm.mov_imm64(A, page.wrapping_add(displacement as u64));
            } else {
                asm.load_frame(A, at!(page));
                asm.lea(A, Some(A), None, disp, true);
            }
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
        match segment {
            Register::FS => self.add_base(at!(fs_base)),
            Register::GS => self.add_base(at!(gs_base)),
            _ => {}
        }
        Some(A)
    }

    /// Makes the context whose GS base is in A the present one: its frame and tables. Uses C.
    pub fn switch_context(&mut self) {
        self.asm.write_gs_base(A);
        for (n, table) in [(1, at!(wide_table)), (0, at!(write_table))] {
            self.asm.load_frame(C, at!(table_bytes) + 8 * n);
            self.asm.lea(C, Some(C), Some((A, 0)), 0, true);
            self.asm.store_frame(table, C);
        }
    }

    fn add_base(&mut self, field: i32) {
        self.asm.load_frame(B, field);
        self.asm.lea(A, Some(A), Some((B, 0)), 0, true);
    }

    /// Looks the address in `from` up for an access of `size` bytes: afterwards [`from` + B] is the host's, or faults.
    pub fn look_up(&mut self, from: u8, size: usize, write: bool) {
        let site = self.site.for_size(size);
        if site == Site::Aligned && size == 16 {
            self.wide_word(from);
            return;
        }
        if site == Site::Aligned || size == 1 {
            self.word_of_aligned(from, size);
        } else {
            self.word_of_any(from, size, site);
        }
        if write {
            self.asm.load_index8(B, C, B);
        } else {
            self.asm.load_gs_index8(B, B, 0);
        }
        if site == Site::Checked {
            // Zero for the two pages of the guard that the sum may lie in, or of one of its copies, and for nothing else.
            self.asm.load_frame(C, at!(minus_guard));
            self.asm.lea(C, Some(C), Some((from, 0)), 0, true);
            self.asm.lea(C, Some(C), Some((B, 0)), 0, true);
            self.extract(C, C, at!(beyond));
            self.asm.swap_rcx_c();
            let absent = self.asm.jrcxz();
            self.asm.swap_rcx_c();
            self.restore_c();
            let present = self.asm.jmp();
            self.asm.land_short(absent);
            let missed = self.asm.jmp();
            self.misses.push((missed, self.offset));
            self.asm.land(present);
        }
    }

    /// Brings back what C holds between instructions.
    pub fn restore_c(&mut self) {
        self.asm.load_frame(C, at!(write_table));
    }

    /// Leaves the number of the word for an aligned access at the address in `from` in B.
    fn word_of_aligned(&mut self, from: u8, size: usize) {
        let log2 = size.trailing_zeros() as u8;
        if self.fast_extract {
            self.extract(B, from, at!(page_and_low) + 8 * i32::from(log2));
            if log2 < 3 {
                self.asm.lea_scaled(B, B, 3 - log2);
            }
            return;
        }
        self.page_to_b(from);
        if log2 == 0 {
            self.asm.lea_scaled(B, B, 3);
        } else {
            // The low bits to the top, and from there to the bottom.
            self.asm.mov_imm32(C, 64 - u32::from(log2));
            self.asm.shlx(C, from, C);
            self.asm.rorx(C, C, 64 - log2);
            self.asm.lea(B, Some(C), Some((B, 3)), 0, true);
        }
        self.restore_c();
    }

    /// The addend for an aligned access of 16 bytes into B, from the third table.
    fn wide_word(&mut self, from: u8) {
        if self.fast_extract {
            self.extract(B, from, at!(page_and_low) + 32);
        } else {
            self.page_to_b(from);
            self.asm.mov_imm32(C, 60);
            self.asm.shlx(C, from, C);
            self.asm.rorx(C, C, 60);
            self.asm.lea_scaled(B, B, 1);
            self.asm.lea(B, Some(C), Some((B, 3)), 0, true);
        }
        self.asm.load_frame(C, at!(wide_table));
        self.asm.load_index8(B, C, B);
        self.restore_c();
    }

    /// The same for an access of any alignment: word 0 if it stays in its page, word 1 if it does not.
    fn word_of_any(&mut self, from: u8, size: usize, site: Site) {
        if self.fast_extract {
            self.extract(C, from, at!(in_page));
            self.asm.lea(C, Some(C), None, size as i32 - 1, true);
            self.extract(C, C, at!(carry));
            self.extract(B, from, at!(page_and_low));
        } else {
            self.page_to_b(from);
            // The offset in the page to the top, which drops the rest, and down again.
            self.asm.mov_imm32(C, 52);
            self.asm.shlx(C, from, C);
            self.asm.rorx(C, C, 52);
            self.asm.lea(C, Some(C), None, size as i32 - 1, true);
            self.asm.rorx(C, C, 12);
            // Bit 0 now; what was below lies at the top.
            self.asm.movzx16(C, C);
        }
        if site >= Site::Crossing {
            self.asm.swap_rcx_c();
            let stays = self.asm.jrcxz();
            let crosses = self.asm.jmp();
            match self.crossing.take() {
                Some(call) => self.crossings.push((crosses, call)),
                None => self.misses.push((crosses, self.offset)),
            }
            self.asm.land_short(stays);
            self.asm.swap_rcx_c();
            self.asm.lea_scaled(B, B, 3);
        } else {
            self.asm.lea(B, Some(C), Some((B, 3)), 0, true);
        }
        self.restore_c();
    }

    /// The page number of an address into B, without PEXT. Uses C.
    fn page_to_b(&mut self, from: u8) {
        self.asm.rorx(B, from, (12 + PAGE_BITS) as u8);
        self.asm.mov_imm32(C, 64 - PAGE_BITS);
        self.asm.shrx(B, B, C);
    }

    /// The bits of `src` that a mask in the frame names, packed.
    fn extract(&mut self, dst: u8, src: u8, mask: i32) {
        if self.fast_extract {
            self.asm.pext_frame(dst, src, mask);
        } else {
            debug_assert!(mask == at!(beyond), "the others have sequences of their own");
            // Whether the bits are zero is all that is asked. Those below to the top, then out, with those above.
            self.asm.rorx(dst, src, 13);
            self.asm.store_frame(at!(spare), B);
            self.asm.mov_imm32(B, 13 + 64 - base::PERIOD_BITS);
            self.asm.shlx(dst, dst, B);
            self.asm.load_frame(B, at!(spare));
        }
    }
}
