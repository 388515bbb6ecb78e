//! Machine code in pages of ours.

#![allow(unsafe_code)] // running it

use std::arch::x86_64::__cpuid;
use std::io;

use nix::sys::mman::ProtFlags;

use crate::mmap::{Mapping, PAGE};
use crate::trap::{self, Trap};

/// Two pages that can be written and run.
pub struct Code(Mapping);

impl Code {
    /// With nothing in them.
    ///
    /// # Errors
    /// That of mmap.
    pub fn new() -> io::Result<Self> {
        Mapping::anonymous(2, ProtFlags::all()).map(Self)
    }

    /// Writes code at an offset.
    pub fn put(&self, offset: usize, code: &[u8]) {
        put(&self.0, offset, code);
    }

    /// The address of an offset.
    pub fn at(&self, offset: usize) -> usize {
        self.0.address() + offset
    }

    /// Runs the code at an offset and returns its RAX.
    ///
    /// # Errors
    /// The trap where it faults.
    pub fn run(&self, offset: usize) -> Result<u64, Trap> {
        run_at(self.at(offset))
    }

    /// Calls the code at an offset as a C function of two arguments.
    pub fn call(&self, offset: usize, first: u64, second: u64) -> u64 {
        // SAFETY: what this program puts there follows the C calling convention.
        let function: extern "C" fn(u64, u64) -> u64 = unsafe { std::mem::transmute(self.at(offset)) };
        function(first, second)
    }
}

/// Writes code into a writable mapping of one or two pages, of which nothing runs now.
pub fn put(mapping: &Mapping, offset: usize, code: &[u8]) {
    let pages = 1 + usize::from(offset + code.len() > PAGE);
    // SAFETY: slice() checks that the pages lie inside of the mapping; it is writable and ours.
    let bytes = unsafe { mapping.slice(0, pages) };
    bytes[offset..offset + code.len()].copy_from_slice(code);
}

/// Runs code that is a constant's, a program's (see `program.rs`), or not there.
///
/// # Errors
/// The trap where it faults.
pub fn run_at(address: usize) -> Result<u64, Trap> {
    // SAFETY: all code that this program writes changes RAX and RCX only, and returns.
    unsafe { trap::call(address) }
}

/// `mov eax, value; ret`.
pub fn constant(value: u32) -> [u8; 6] {
    let [a, b, c, d] = value.to_le_bytes();
    [0xb8, a, b, c, d, 0xc3]
}

/// What Intel's manual (volume 3, section 8.1.3) asks for between a change of code by another address or
/// another processor, and running it: a serialising instruction.
pub fn serialise() {
    std::hint::black_box(__cpuid(0));
}
