//! One register-only instruction, executed by the host's own CPU in 32-bit code: by a far jump into the
//! segment that Linux has for 32-bit programs, and back. Code, registers and stack lie in the lowest 2 GiB.

#![allow(unsafe_code)] // makes code and calls it

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::native::Registers;

/// Linux's selectors of user code (arch/x86/include/asm/segment.h).
const CODE_32: u16 = 0x23;
const CODE_64: u16 = 0x33;

const PAGE: usize = 4096;
const SIZE: NonZeroUsize = NonZeroUsize::new(2 * PAGE).unwrap();

/// In the second page, behind the registers: where RSP is kept, and the far pointer to jump through.
const SAVED: u32 = 0x100;
const POINTER: u32 = 0x110;

/// Is there a segment for 32-bit code?
pub(super) fn possible() -> bool {
    let (rights, valid): (u32, u8);
    // SAFETY: LAR looks a selector up and faults never.
    unsafe {
        std::arch::asm!("lar {r:e}, {s:e}", "setz {v}", s = in(reg) u32::from(CODE_32),
            r = out(reg) rights, v = out(reg_byte) valid, options(nomem, nostack));
    }
    // Code (bits 11 and 12), present (15), not 64-bit (21), 32-bit (22).
    valid == 1 && rights & 0x60_9800 == 0x40_9800
}

/// A page of code and one of data.
pub(super) struct CompatPage(NonNull<std::ffi::c_void>);

impl CompatPage {
    pub fn new() -> Self {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_32BIT;
        // SAFETY: a fresh mapping overlaps nothing.
        let pages =
            unsafe { mmap_anonymous(None, SIZE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) };
        Self(pages.unwrap())
    }

    fn at(&self) -> u32 {
        self.0.as_ptr() as usize as u32
    }

    /// The function that loads the registers, executes the instruction and saves them.
    fn code(&self, instruction: &[u8]) -> (Vec<u8>, u32) {
        let data = self.at() + PAGE as u32;
        let mut code = vec![0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57]; // push rbx, rbp, r12–r15
        let absolute = |code: &mut Vec<u8>, opcode: &[u8], offset: u32| {
            code.extend(opcode);
            code.extend((data + offset).to_le_bytes());
        };
        let all = |code: &mut Vec<u8>, opcode: u8| {
            for register in (0..8u8).filter(|&register| register != 4) {
                absolute(code, &[0x48, opcode, 0x04 | register << 3, 0x25], u32::from(register) * 8);
            }
        };
        absolute(&mut code, &[0x48, 0x89, 0x24, 0x25], SAVED); // mov [SAVED], rsp
        absolute(&mut code, &[0x48, 0xc7, 0xc4], PAGE as u32); // mov rsp, the end of the page
        absolute(&mut code, &[0xff, 0x34, 0x25], 128); // push [flags]
        code.push(0x9d); // popfq
        all(&mut code, 0x8b);
        absolute(&mut code, &[0xff, 0x2c, 0x25], POINTER); // jmp far [POINTER]
        let narrow = self.at() + code.len() as u32;
        code.extend(instruction);
        let back = self.at() + code.len() as u32 + 7;
        code.push(0xea); // jmp far CODE_64:back
        code.extend(back.to_le_bytes());
        code.extend(CODE_64.to_le_bytes());
        all(&mut code, 0x89);
        code.push(0x9c); // pushfq
        absolute(&mut code, &[0x8f, 0x04, 0x25], 128); // pop [flags]
        absolute(&mut code, &[0x48, 0x8b, 0x24, 0x25], SAVED); // mov rsp, [SAVED]
        // cld; pop r15–r12, rbp, rbx; ret
        code.extend([0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3]);
        (code, narrow)
    }

    /// Executes an instruction on the lower halves of the first eight registers.
    pub fn run(&mut self, instruction: &[u8], registers: &mut Registers) {
        let (code, narrow) = self.code(instruction);
        // SAFETY: our own pages, used by nobody else now; the code is far shorter than its page, and a function
        // of this signature that gives back all the caller owns. The instruction touches registers only.
        unsafe {
            let page = self.0.as_ptr().cast::<u8>();
            let data = page.add(PAGE);
            mprotect(self.0, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).unwrap();
            std::ptr::copy_nonoverlapping(code.as_ptr(), page, code.len());
            mprotect(self.0, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC).unwrap();
            data.cast::<Registers>().write(*registers);
            data.add(POINTER as usize).cast::<u32>().write(narrow);
            data.add(POINTER as usize + 4).cast::<u16>().write(CODE_32);
            let function: unsafe extern "sysv64" fn() = std::mem::transmute(page);
            function();
            let after = data.cast::<Registers>().read();
            for register in 0..8 {
                registers.gpr[register] = after.gpr[register] & 0xffff_ffff;
            }
            registers.flags = after.flags;
        }
    }
}

impl Drop for CompatPage {
    fn drop(&mut self) {
        // SAFETY: our own pages, used no more.
        unsafe { munmap(self.0, SIZE.get()).unwrap() };
    }
}
