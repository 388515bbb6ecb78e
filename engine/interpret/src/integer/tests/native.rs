//! One register-only instruction, executed by the host's own CPU.

#![allow(unsafe_code)] // makes code and calls it

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// The general registers (RSP is ignored) and RFLAGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Registers {
    pub gpr: [u64; 16],
    pub flags: u64,
}

/// A page that can be written or executed.
pub(super) struct Page(NonNull<std::ffi::c_void>);

const SIZE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// push rbx, rbp, r12–r15, rdi; push [rdi+128]; popfq
const ENTER: &[u8] =
    &[0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x57, 0xff, 0xb7, 0x80, 0, 0, 0, 0x9d];
/// xchg rdi, [rsp]: the instruction's RDI goes to the stack, the registers' address comes back
const SWAP: &[u8] = &[0x48, 0x87, 0x3c, 0x24];
/// pop rax; mov [rdi+56], rax; pushfq; pop [rdi+128]; cld; pop r15–r12, rbp, rbx; ret
const LEAVE: &[u8] = &[
    0x58, 0x48, 0x89, 0x47, 0x38, 0x9c, 0x8f, 0x87, 0x80, 0, 0, 0, 0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d,
    0x41, 0x5c, 0x5d, 0x5b, 0xc3,
];

const RSP: u8 = 4;
const RDI: u8 = 7;

/// MOV between a register and its place relative to RDI.
fn mov(code: &mut Vec<u8>, opcode: u8, register: u8) {
    code.extend([0x48 | register >> 3 << 2, opcode, 0x47 | (register & 7) << 3, register * 8]);
}

impl Page {
    pub fn new() -> Self {
        // SAFETY: a fresh mapping overlaps nothing.
        let page = unsafe { mmap_anonymous(None, SIZE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE) };
        Self(page.unwrap())
    }

    /// Puts an instruction into the page, wrapped in code that loads and saves the registers.
    pub fn set(&mut self, instruction: &[u8]) {
        let mut code = ENTER.to_vec();
        let others = || (0..16).filter(|&register| register != RSP && register != RDI);
        others().for_each(|register| mov(&mut code, 0x8b, register));
        mov(&mut code, 0x8b, RDI);
        code.extend(instruction);
        code.extend(SWAP);
        others().for_each(|register| mov(&mut code, 0x89, register));
        code.extend(LEAVE);
        // SAFETY: our own page; nothing executes in it now, and the code is far shorter than it.
        unsafe {
            mprotect(self.0, SIZE.get(), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).unwrap();
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.0.as_ptr().cast(), code.len());
            mprotect(self.0, SIZE.get(), ProtFlags::PROT_READ | ProtFlags::PROT_EXEC).unwrap();
        }
    }

    /// Executes it.
    pub fn run(&self, registers: &mut Registers) {
        // SAFETY: the page holds a function of this signature; the instruction in it touches registers only
        // and the wrapping restores those that the caller owns.
        unsafe {
            let function: unsafe extern "sysv64" fn(*mut Registers) = std::mem::transmute(self.0.as_ptr());
            function(registers);
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: our own page, used no more.
        unsafe { munmap(self.0, SIZE.get()).unwrap() };
    }
}
