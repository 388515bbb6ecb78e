//! The few instructions that the translator inserts, encoded by hand: fast, and none of them touches a
//! flag unless its name says so.

/// Host register: scratch that holds the guest address, then the branch target. Guest R15 lives in the frame.
pub(crate) const A: u8 = 15;
/// Host register: scratch that holds the addend. Guest R14 lives in the frame.
pub(crate) const B: u8 = 14;
/// Host register: holds the address of the table for writes between instructions, scratch within. Guest R13 lives
/// in the frame.
pub(crate) const C: u8 = 13;

const RAX: u8 = 0;
const RCX: u8 = 1;

/// A buffer of host code.
#[derive(Default)]
pub(crate) struct Assembler {
    pub code: Vec<u8>,
}

/// A forward jump within the buffer, to be landed.
#[must_use]
#[derive(Debug)]
pub(crate) struct Hole(usize);

impl Assembler {
    pub fn here(&self) -> usize {
        self.code.len()
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    fn imm32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn rex(w: bool, reg: u8, index: u8, base: u8) -> u8 {
        0x40 | u8::from(w) << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3
    }

    /// ModRM and SIB for `gs:[disp32]`.
    fn gs_absolute(&mut self, reg: u8, disp: i32) {
        self.bytes(&[(reg & 7) << 3 | 4, 0x25]);
        self.imm32(disp as u32);
    }

    /// `mov reg, gs:[disp]`
    pub fn load_frame(&mut self, reg: u8, disp: i32) {
        self.bytes(&[0x65, Self::rex(true, reg, 0, 0), 0x8b]);
        self.gs_absolute(reg, disp);
    }

    /// `mov gs:[disp], reg`
    pub fn store_frame(&mut self, disp: i32, reg: u8) {
        self.bytes(&[0x65, Self::rex(true, reg, 0, 0), 0x89]);
        self.gs_absolute(reg, disp);
    }

    /// `mov qword gs:[disp], imm32` (sign-extended)
    pub fn store_frame_imm(&mut self, disp: i32, value: u32) {
        self.bytes(&[0x65, 0x48, 0xc7]);
        self.gs_absolute(0, disp);
        self.imm32(value);
    }

    /// `jmp gs:[disp]`
    #[allow(dead_code)]
    pub fn jump_frame(&mut self, disp: i32) {
        self.bytes(&[0x65, 0xff]);
        self.gs_absolute(4, disp);
    }

    /// `mov dst, gs:[index*8 + disp]`
    pub fn load_gs_index8(&mut self, dst: u8, index: u8, disp: i32) {
        self.bytes(&[
            0x65,
            Self::rex(true, dst, index, 0),
            0x8b,
            (dst & 7) << 3 | 4,
            0xc5 | (index & 7) << 3,
        ]);
        self.imm32(disp as u32);
    }

    /// `mov dst, [base + index*8]`
    pub fn load_index8(&mut self, dst: u8, base: u8, index: u8) {
        // With a displacement byte, for a base of R13 cannot be without.
        self.bytes(&[Self::rex(true, dst, index, base), 0x8b, 0x44 | (dst & 7) << 3]);
        self.bytes(&[0xc0 | (index & 7) << 3 | base & 7, 0]);
    }

    /// `lea dst, [src << scale]`
    pub fn lea_scaled(&mut self, dst: u8, src: u8, scale: u8) {
        match scale {
            1 => self.lea(dst, Some(src), Some((src, 0)), 0, true),
            _ => self.lea(dst, None, Some((src, scale)), 0, true),
        }
    }

    /// `pext dst, src, gs:[disp]`
    pub fn pext_frame(&mut self, dst: u8, src: u8, disp: i32) {
        let r = (!dst >> 3 & 1) << 7;
        self.bytes(&[0x65, 0xc4, r | 0x62, 0x80 | (!src & 15) << 3 | 2, 0xf5]);
        self.gs_absolute(dst, disp);
    }

    /// `xchg rcx, C`
    pub fn swap_rcx_c(&mut self) {
        self.bytes(&[Self::rex(true, RCX, 0, C), 0x87, 0xc0 | RCX << 3 | C & 7]);
    }

    /// `jmp gs:[index*8 + disp]`
    pub fn jump_gs_index8(&mut self, index: u8, disp: i32) {
        self.bytes(&[0x65, Self::rex(false, 0, index, 0), 0xff, 0x24, 0xc5 | (index & 7) << 3]);
        self.imm32(disp as u32);
    }

    /// `mov dst, src`
    pub fn mov(&mut self, dst: u8, src: u8) {
        self.bytes(&[Self::rex(true, src, 0, dst), 0x89, 0xc0 | (src & 7) << 3 | dst & 7]);
    }

    /// `mov dst32, imm32`
    pub fn mov_imm32(&mut self, dst: u8, value: u32) {
        if dst >= 8 {
            self.bytes(&[0x41]);
        }
        self.bytes(&[0xb8 | dst & 7]);
        self.imm32(value);
    }

    /// `mov dst, [base + index]`
    pub fn load(&mut self, dst: u8, base: u8, index: u8) {
        self.memory_sum(true, &[0x8b], dst, base, index);
    }

    /// `mov [base + index], src`
    pub fn store(&mut self, base: u8, index: u8, src: u8) {
        self.memory_sum(true, &[0x89], src, base, index);
    }

    fn memory_sum(&mut self, w: bool, opcode: &[u8], reg: u8, base: u8, index: u8) {
        // A base of R13 or RBP needs a displacement byte.
        let short = base & 7 != 5;
        self.bytes(&[Self::rex(w, reg, index, base)]);
        self.bytes(opcode);
        let modrm = (reg & 7) << 3 | 4 | if short { 0 } else { 0x40 };
        self.bytes(&[modrm, (index & 7) << 3 | base & 7]);
        if !short {
            self.bytes(&[0]);
        }
    }

    /// `mov dst, [base]`
    pub fn load_plain(&mut self, dst: u8, base: u8) {
        debug_assert!(base & 7 != 4 && base & 7 != 5 || base == B || base == A);
        self.bytes(&[Self::rex(true, dst, 0, base), 0x8b]);
        if base & 7 == 4 {
            self.bytes(&[(dst & 7) << 3 | 4, 0x24]);
        } else {
            self.bytes(&[(dst & 7) << 3 | base & 7]);
        }
    }

    /// `lea dst, [base + index << scale + disp]`, 64 or 32 bits wide.
    pub fn lea(&mut self, dst: u8, base: Option<u8>, index: Option<(u8, u8)>, disp: i32, wide: bool) {
        let (index_number, scale) = index.unwrap_or((4, 0));
        self.bytes(&[
            Self::rex(wide, dst, if index.is_some() { index_number } else { 0 }, base.unwrap_or(0)),
            0x8d,
        ]);
        let sib = scale << 6 | (index_number & 7) << 3;
        match base {
            None => {
                self.bytes(&[(dst & 7) << 3 | 4, sib | 5]);
                self.imm32(disp as u32);
            }
            Some(base) => {
                let mode = match disp {
                    0 if base & 7 != 5 => 0,
                    -128..=127 => 1,
                    _ => 2,
                };
                if index.is_some() || base & 7 == 4 {
                    self.bytes(&[mode << 6 | (dst & 7) << 3 | 4, sib | base & 7]);
                } else {
                    self.bytes(&[mode << 6 | (dst & 7) << 3 | base & 7]);
                }
                match mode {
                    0 => {}
                    1 => self.bytes(&[disp as u8]),
                    _ => self.imm32(disp as u32),
                }
            }
        }
    }

    /// `rorx dst, src, count`
    pub fn rorx(&mut self, dst: u8, src: u8, count: u8) {
        self.vex(dst, src, 0, 3, 0xf0, 3);
        self.bytes(&[count]);
    }

    /// `shrx dst, src, count`
    pub fn shrx(&mut self, dst: u8, src: u8, count: u8) {
        self.vex(dst, src, count, 2, 0xf7, 3);
    }

    /// `shlx dst, src, count`
    pub fn shlx(&mut self, dst: u8, src: u8, count: u8) {
        self.vex(dst, src, count, 2, 0xf7, 1);
    }

    /// A VEX.LZ.W1 instruction on registers. `map`: 2 = 0F38, 3 = 0F3A; `pp`: 1 = 66, 3 = F2.
    fn vex(&mut self, reg: u8, rm: u8, v: u8, map: u8, opcode: u8, pp: u8) {
        let r = (!reg >> 3 & 1) << 7;
        let b = (!rm >> 3 & 1) << 5;
        self.bytes(&[
            0xc4,
            r | 0x40 | b | map,
            0x80 | (!v & 15) << 3 | pp,
            opcode,
            0xc0 | (reg & 7) << 3 | rm & 7,
        ]);
    }

    /// Saves the arithmetic flags in the frame at `disp`. Uses C; destroys the flags.
    pub fn save_flags(&mut self, disp: i32) {
        self.mov(C, RAX);
        self.bytes(&[0x9f, 0x0f, 0x90, 0xc0]); // lahf; seto al
        self.store_frame(disp, RAX);
        self.mov(RAX, C);
    }

    /// Brings them back. Uses C.
    pub fn restore_flags(&mut self, disp: i32) {
        self.mov(C, RAX);
        self.load_frame(RAX, disp);
        self.bytes(&[0x04, 0x7f, 0x9e]); // add al, 7fh (OF); sahf
        self.mov(RAX, C);
    }

    /// `lea dst, [rip + …]` so that it gives the address of the code at `position`.
    pub fn lea_code(&mut self, dst: u8, position: usize) {
        self.bytes(&[Self::rex(true, dst, 0, 0), 0x8d, (dst & 7) << 3 | 5]);
        let next = self.here() + 4;
        self.imm32((position as u32).wrapping_sub(next as u32));
    }

    /// `wrgsbase src`
    pub fn write_gs_base(&mut self, src: u8) {
        self.bytes(&[0xf3, Self::rex(true, 0, 0, src), 0x0f, 0xae, 0xd8 | src & 7]);
    }

    /// `sarx dst, src, count`, 64 or 32 bits wide.
    pub fn sarx(&mut self, dst: u8, src: u8, count: u8, wide: bool) {
        self.vex(dst, src, count, 2, 0xf7, 2);
        if !wide {
            let third = self.code.len() - 3;
            self.code[third] &= 0x7f;
        }
    }

    /// `movsxd dst, src32`
    pub fn movsxd(&mut self, dst: u8, src: u8) {
        self.bytes(&[Self::rex(true, dst, 0, src), 0x63, 0xc0 | (dst & 7) << 3 | src & 7]);
    }

    /// `or dst, gs:[disp]`
    pub fn or_frame(&mut self, dst: u8, disp: i32) {
        self.bytes(&[0x65, Self::rex(true, dst, 0, 0), 0x0b]);
        self.gs_absolute(dst, disp);
    }

    /// `and dst, gs:[disp]`
    pub fn and_frame(&mut self, dst: u8, disp: i32) {
        self.bytes(&[0x65, Self::rex(true, dst, 0, 0), 0x23]);
        self.gs_absolute(dst, disp);
    }

    /// `cmp dst, imm8` (sign-extended)
    pub fn compare_imm8(&mut self, dst: u8, value: u8) {
        self.bytes(&[Self::rex(true, 0, 0, dst), 0x83, 0xf8 | dst & 7, value]);
    }

    /// `shr dst, count`
    pub fn shift_right(&mut self, dst: u8, count: u8) {
        self.bytes(&[Self::rex(true, 0, 0, dst), 0xc1, 0xe8 | dst & 7, count]);
    }

    /// `sar dst, count`
    pub fn shift_right_signed(&mut self, dst: u8, count: u8) {
        self.bytes(&[Self::rex(true, 0, 0, dst), 0xc1, 0xf8 | dst & 7, count]);
    }

    /// `mulx high, src, src`: the high half of RDX times `src`; `src` gets the low half.
    pub fn multiply_rdx(&mut self, high: u8, src: u8) {
        self.vex(high, src, src, 2, 0xf6, 3);
    }

    /// `mov dst, imm64`, the shortest way
    pub fn mov_imm64(&mut self, dst: u8, value: u64) {
        if value >> 32 == 0 {
            return self.mov_imm32(dst, value as u32);
        }
        if i32::try_from(value as i64).is_ok() {
            self.bytes(&[Self::rex(true, 0, 0, dst), 0xc7, 0xc0 | dst & 7]);
            return self.imm32(value as u32);
        }
        self.bytes(&[Self::rex(true, 0, 0, dst), 0xb8 | dst & 7]);
        self.bytes(&value.to_le_bytes());
    }

    /// `mov dst, gs:[B + disp]`
    pub fn load_gs_b(&mut self, dst: u8, disp: i32) {
        self.bytes(&[0x65, Self::rex(true, dst, 0, B), 0x8b, 0x80 | (dst & 7) << 3 | B & 7]);
        self.imm32(disp as u32);
    }

    /// `mov gs:[B + disp], src`
    pub fn store_gs_b(&mut self, disp: i32, src: u8) {
        self.bytes(&[0x65, Self::rex(true, src, 0, B), 0x89, 0x80 | (src & 7) << 3 | B & 7]);
        self.imm32(disp as u32);
    }

    /// `jmp gs:[B + disp]`
    pub fn jump_gs_b(&mut self, disp: i32) {
        self.bytes(&[0x65, Self::rex(false, 0, 0, B), 0xff, 0xa0 | B & 7]);
        self.imm32(disp as u32);
    }

    /// `movzx dst32, src8`
    pub fn movzx8(&mut self, dst: u8, src: u8) {
        self.bytes(&[Self::rex(false, dst, 0, src), 0x0f, 0xb6, 0xc0 | (dst & 7) << 3 | src & 7]);
    }

    /// `not dst`
    pub fn not(&mut self, dst: u8) {
        self.bytes(&[Self::rex(true, 0, 0, dst), 0xf7, 0xd0 | dst & 7]);
    }

    /// `lea dst, [rip + …]`, to be landed.
    pub fn lea_hole(&mut self, dst: u8) -> Hole {
        self.bytes(&[Self::rex(true, dst, 0, 0), 0x8d, (dst & 7) << 3 | 5]);
        self.imm32(0);
        Hole(self.here() - 4)
    }

    /// `push [rip + …]`, to be landed.
    pub fn push_hole(&mut self) -> Hole {
        self.bytes(&[0xff, 0x35]);
        self.imm32(0);
        Hole(self.here() - 4)
    }

    /// `sub dst, src`
    pub fn subtract(&mut self, dst: u8, src: u8) {
        self.bytes(&[Self::rex(true, src, 0, dst), 0x29, 0xc0 | (src & 7) << 3 | dst & 7]);
    }

    /// `rep movs` (opcode A4h) or `rep stos` (AAh) of this element size.
    pub fn repeat(&mut self, opcode: u8, size: u8) {
        match size {
            1 => self.bytes(&[0xf3, opcode]),
            2 => self.bytes(&[0x66, 0xf3, opcode + 1]),
            4 => self.bytes(&[0xf3, opcode + 1]),
            _ => self.bytes(&[0xf3, 0x48, opcode + 1]),
        }
    }

    /// `mov dst, [base + index]`, 1, 2, 4 or 8 bytes wide.
    pub fn load_sized(&mut self, dst: u8, base: u8, index: u8, size: u8) {
        self.sized(0x8a, dst, base, index, size);
    }

    /// `mov [base + index], src`, 1, 2, 4 or 8 bytes wide.
    pub fn store_sized(&mut self, base: u8, index: u8, src: u8, size: u8) {
        self.sized(0x88, src, base, index, size);
    }

    fn sized(&mut self, opcode: u8, reg: u8, base: u8, index: u8, size: u8) {
        if size == 2 {
            self.bytes(&[0x66]);
        }
        self.memory_sum(size == 8, &[opcode | u8::from(size > 1)], reg, base, index);
    }

    /// `xor dst, gs:[disp]`
    pub fn xor_frame(&mut self, dst: u8, disp: i32) {
        self.bytes(&[0x65, Self::rex(true, dst, 0, 0), 0x33]);
        self.gs_absolute(dst, disp);
    }

    /// `cmp qword gs:[disp], 0`
    pub fn compare_frame_zero(&mut self, disp: i32) {
        self.bytes(&[0x65, 0x48, 0x83]);
        self.gs_absolute(7, disp);
        self.bytes(&[0]);
    }

    /// `inc qword gs:[disp]`
    pub fn increment_frame(&mut self, disp: i32) {
        self.bytes(&[0x65, 0x48, 0xff]);
        self.gs_absolute(0, disp);
    }

    /// `and dst32, imm32`
    pub fn and_imm32(&mut self, dst: u8, value: u32) {
        self.bytes(&[Self::rex(false, 0, 0, dst), 0x81, 0xe0 | dst & 7]);
        self.imm32(value);
    }

    /// `test dst32, imm32`
    pub fn test_imm32(&mut self, dst: u8, value: u32) {
        self.bytes(&[Self::rex(false, 0, 0, dst), 0xf7, 0xc0 | dst & 7]);
        self.imm32(value);
    }

    /// `A ← the arithmetic flags as RFLAGS has them`, from what `save_flags` left at `disp`. Destroys the flags,
    /// uses B.
    pub fn status_to_a(&mut self, disp: i32) {
        self.load_frame(B, disp);
        // movzx r15d, r14b (OF); shl r15d, 11; shr r14d, 8; and r14d, 0d5h; or r15d, r14d
        self.bytes(&[0x45, 0x0f, 0xb6, 0xfe, 0x41, 0xc1, 0xe7, 11, 0x41, 0xc1, 0xee, 8]);
        self.and_imm32(B, 0xd5);
        self.bytes(&[0x45, 0x09, 0xf7]);
    }

    /// Loads the arithmetic flags from the bits of RFLAGS in A. Uses A and C.
    pub fn load_status_from_a(&mut self) {
        self.mov(C, RAX);
        // mov eax, r15d; mov ah, al; shr r15d, 11; and r15d, 1; mov al, r15b; add al, 7fh; sahf
        self.bytes(&[0x44, 0x89, 0xf8, 0x88, 0xc4, 0x41, 0xc1, 0xef, 11, 0x41, 0x83, 0xe7, 1]);
        // MOV with R15B needs REX, AL is the same register with or without.
        self.bytes(&[0x44, 0x88, 0xf8, 0x04, 0x7f, 0x9e]);
        self.mov(RAX, C);
    }

    /// `movzx dst32, src16`
    pub fn movzx16(&mut self, dst: u8, src: u8) {
        self.bytes(&[Self::rex(false, dst, 0, src), 0x0f, 0xb7, 0xc0 | (dst & 7) << 3 | src & 7]);
    }

    /// `jcc` by condition code, to be landed.
    pub fn jcc(&mut self, condition: u8) -> Hole {
        self.bytes(&[0x0f, 0x80 | condition]);
        self.imm32(0);
        Hole(self.here() - 4)
    }

    /// `jmp`, to be landed.
    pub fn jmp(&mut self) -> Hole {
        self.bytes(&[0xe9]);
        self.imm32(0);
        Hole(self.here() - 4)
    }

    /// `jmp` to a position before.
    pub fn jmp_back(&mut self, to: usize) {
        self.bytes(&[0xe9]);
        let next = self.here() + 4;
        self.imm32((to as u32).wrapping_sub(next as u32));
    }

    /// `test reg, reg`
    pub fn test_self(&mut self, reg: u8) {
        self.bytes(&[Self::rex(true, reg, 0, reg), 0x85, 0xc0 | (reg & 7) << 3 | reg & 7]);
    }

    /// `cmp C, rcx; cmovb rcx, C`
    pub fn cut_rcx_to_c(&mut self) {
        self.bytes(&[Self::rex(true, RCX, 0, C), 0x39, 0xc0 | RCX << 3 | C & 7]);
        self.bytes(&[Self::rex(true, RCX, 0, C), 0x0f, 0x42, 0xc0 | RCX << 3 | C & 7]);
    }

    /// `sub gs:[disp], src`
    pub fn subtract_from_frame(&mut self, disp: i32, src: u8) {
        self.bytes(&[0x65, Self::rex(true, src, 0, 0), 0x29]);
        self.gs_absolute(src, disp);
    }

    /// `jrcxz`, to be landed within 127 bytes.
    pub fn jrcxz(&mut self) -> Hole {
        self.bytes(&[0xe3, 0]);
        Hole(self.here() - 1)
    }

    /// Lands a short hole here.
    pub fn land_short(&mut self, hole: Hole) {
        self.code[hole.0] = (self.here() - hole.0 - 1) as u8;
    }

    /// Lands a hole here.
    pub fn land(&mut self, hole: Hole) {
        let displacement = (self.here() - hole.0 - 4) as u32;
        self.code[hole.0..hole.0 + 4].copy_from_slice(&displacement.to_le_bytes());
    }

    /// Gives a hole its displacement.
    pub fn patch(&mut self, hole: Hole, displacement: u32) {
        self.code[hole.0..hole.0 + 4].copy_from_slice(&displacement.to_le_bytes());
    }

    /// The position of a hole's displacement, for links that are patched later.
    pub fn position(hole: &Hole) -> usize {
        hole.0
    }

    /// `lea rcx, [rcx + A + 1]`
    pub fn add_target_and_one_to_rcx(&mut self) {
        self.lea(RCX, Some(RCX), Some((A, 0)), 1, true);
    }

    /// `lea rcx, [rcx + A]`
    pub fn add_target_to_rcx(&mut self) {
        self.lea(RCX, Some(RCX), Some((A, 0)), 0, true);
    }

    /// `mov rcx, C` or back.
    pub fn rcx_from_c(&mut self) {
        self.mov(RCX, C);
    }

    /// See `rcx_from_c`.
    pub fn rcx_to_c(&mut self) {
        self.mov(C, RCX);
    }

    /// `mov rcx, gs:[B*8 + disp]`
    pub fn load_rcx_gs_b(&mut self, disp: i32) {
        self.load_gs_index8(RCX, B, disp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};

    fn listing(build: impl FnOnce(&mut Assembler)) -> Vec<String> {
        let mut assembler = Assembler::default();
        build(&mut assembler);
        let mut decoder = Decoder::new(64, &assembler.code, DecoderOptions::NONE);
        let mut formatter = NasmFormatter::new();
        decoder
            .iter()
            .map(|instruction| {
                let mut text = String::new();
                formatter.format(&instruction, &mut text);
                text
            })
            .collect()
    }

    #[test]
    fn what_is_encoded_is_what_the_names_say() {
        let text = listing(|a| {
            a.load_frame(C, -8);
            a.store_frame(-16, 0);
            a.store_frame_imm(-24, 7);
            a.load_gs_index8(B, B, 8);
            a.jump_gs_index8(B, -0x100);
            a.mov(A, 4);
            a.mov_imm32(C, 28);
            a.load(1, A, B);
            a.store(A, B, 12);
            a.store(C, B, 0);
            a.load_plain(B, B);
            a.rorx(B, A, 48);
            a.shrx(B, B, C);
            a.shlx(C, A, C);
        });
        let want = [
            "mov r13,[gs:0FFFFFFFFFFFFFFF8h]",
            "mov [gs:0FFFFFFFFFFFFFFF0h],rax",
            "mov qword [gs:0FFFFFFFFFFFFFFE8h],7",
            "mov r14,[gs:r14*8+8]",
            "jmp qword [gs:r14*8-100h]",
            "mov r15,rsp",
            "mov r13d,1Ch",
            "mov rcx,[r15+r14]",
            "mov [r15+r14],r12",
            "mov [r13+r14],rax",
            "mov r14,[r14]",
            "rorx r14,r15,30h",
            "shrx r14,r14,r13",
            "shlx r13,r15,r13",
        ];
        assert_eq!(text, want);
    }

    #[test]
    fn the_flag_sequences_are_what_they_claim() {
        let text = listing(|a| {
            a.status_to_a(-8);
            a.load_status_from_a();
            a.movzx16(B, A);
            a.load_index8(B, C, B);
            a.lea_scaled(B, B, 1);
            a.lea_scaled(B, B, 3);
            a.pext_frame(B, A, -8);
            a.pext_frame(C, C, -8);
            a.pext_frame(B, 7, -8);
            a.swap_rcx_c();
            a.test_self(1);
            a.cut_rcx_to_c();
            a.subtract_from_frame(-8, 1);
            a.compare_frame_zero(-8);
            a.test_imm32(A, 0x200);
            a.or_frame(A, -8);
            a.xor_frame(B, -8);
            a.lea_code(A, 0);
            a.write_gs_base(A);
            a.sarx(C, 3, B, true);
            a.sarx(C, 9, B, false);
            a.movsxd(C, C);
            a.and_frame(B, -8);
            a.compare_imm8(C, 0);
            a.shift_right(A, 47);
            a.subtract(7, B);
            a.repeat(0xaa, 8);
            a.repeat(0xa4, 1);
            a.repeat(0xa4, 2);
            a.load_sized(0, A, B, 1);
            a.load_sized(0, A, B, 2);
            a.store_sized(A, B, C, 4);
        });
        let want = [
            "mov r14,[gs:0FFFFFFFFFFFFFFF8h]",
            "movzx r15d,r14b",
            "shl r15d,0Bh",
            "shr r14d,8",
            "and r14d,0D5h",
            "or r15d,r14d",
            "mov r13,rax",
            "mov eax,r15d",
            "mov ah,al",
            "shr r15d,0Bh",
            "and r15d,1",
            "mov al,r15b",
            "add al,7Fh",
            "sahf",
            "mov rax,r13",
            "movzx r14d,r15w",
            "mov r14,[r13+r14*8]",
            "lea r14,[r14+r14]",
            "lea r14,[r14*8]",
            "pext r14,r15,[gs:0FFFFFFFFFFFFFFF8h]",
            "pext r13,r13,[gs:0FFFFFFFFFFFFFFF8h]",
            "pext r14,rdi,[gs:0FFFFFFFFFFFFFFF8h]",
            "xchg rcx,r13",
            "test rcx,rcx",
            "cmp r13,rcx",
            "cmovb rcx,r13",
            "sub [gs:0FFFFFFFFFFFFFFF8h],rcx",
            "cmp qword [gs:0FFFFFFFFFFFFFFF8h],0",
            "test r15d,200h",
            "or r15,[gs:0FFFFFFFFFFFFFFF8h]",
            "xor r14,[gs:0FFFFFFFFFFFFFFF8h]",
            "lea r15,[rel 0]",
            "wrgsbase r15",
            "sarx r13,rbx,r14",
            "sarx r13d,r9d,r14d",
            "movsxd r13,r13d",
            "and r14,[gs:0FFFFFFFFFFFFFFF8h]",
            "cmp r13,0",
            "shr r15,2Fh",
            "sub rdi,r14",
            "rep stosq",
            "rep movsb",
            "rep movsw",
            "mov al,[r15+r14]",
            "mov ax,[r15+r14]",
            "mov [r15+r14],r13d",
        ];
        assert_eq!(text, want);
    }

    #[test]
    fn every_shape_of_lea() {
        let text = listing(|a| {
            a.lea(A, Some(0), None, 0, true);
            a.lea(A, Some(5), None, 0, true);
            a.lea(A, Some(4), None, 8, true);
            a.lea(A, Some(12), None, 0, true);
            a.lea(A, Some(13), Some((14, 3)), 0x1000, true);
            a.lea(A, None, Some((9, 2)), -4, true);
            a.lea(A, None, None, 0x1234, true);
            a.lea(A, Some(3), Some((5, 0)), -1, false);
        });
        let want = [
            "lea r15,[rax]",
            "lea r15,[rbp]",
            "lea r15,[rsp+8]",
            "lea r15,[r12]",
            "lea r15,[r13+r14*8+1000h]",
            "lea r15,[r9*4-4]",
            "lea r15,[1234h]",
            "lea r15d,[rbx+rbp-1]",
        ];
        assert_eq!(text, want);
    }
}
