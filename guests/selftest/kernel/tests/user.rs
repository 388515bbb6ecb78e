//! Ring 3: the way in. The way out is a trap.

use core::arch::asm;
use core::convert::Infallible;

use crate::hw::gdt::{USER_CODE32, USER_CODE64, USER_DATA};
use crate::hw::pages::{self, HIGH, LOW, U, W};
use crate::trap::{Trap, catch};

/// Where [`User::code64`] puts its code; the stack lies on the page behind it.
pub const CODE64_AT: u64 = HIGH + 0x10_0000;
/// Where [`User::code32`] puts its code; the stack lies on the page behind it.
pub const CODE32_AT: u64 = LOW + 0x10_0000;

/// A register set to enter ring 3 with.
#[derive(Clone, Copy)]
pub struct User {
    pub rip: u64,
    pub cs: u16,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u16,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
}

impl User {
    /// Maps `code` and a stack for 64-bit mode.
    pub fn code64(code: &[u8]) -> Self {
        Self::new(code, CODE64_AT, USER_CODE64)
    }

    /// Maps `code` and a stack for compatibility mode.
    pub fn code32(code: &[u8]) -> Self {
        Self::new(code, CODE32_AT, USER_CODE32)
    }

    fn new(code: &[u8], rip: u64, cs: u16) -> Self {
        pages::map_user_code(rip, code);
        pages::map_new(rip + 0x1000, U | W);
        Self { rip, cs, rflags: 2, rsp: rip + 0x1800, ss: USER_DATA, rax: 0, rcx: 0, rdx: 0, rsi: 0, rdi: 0 }
    }

    /// Runs until a vector without a handler is taken.
    pub fn run(&self) -> Trap {
        let this = *self;
        let result = catch(|| -> Infallible {
            // SAFETY: the frame is complete; whatever happens there comes back as a trap.
            unsafe {
                asm!(
                    "mov ds, {data:e}",
                    "mov es, {data:e}",
                    "push {ss}",
                    "push {rsp}",
                    "push {rflags}",
                    "push {cs}",
                    "push {rip}",
                    "iretq",
                    data = in(reg) u32::from(USER_DATA),
                    ss = in(reg) u64::from(this.ss),
                    rsp = in(reg) this.rsp,
                    rflags = in(reg) this.rflags,
                    cs = in(reg) u64::from(this.cs),
                    rip = in(reg) this.rip,
                    in("rax") this.rax,
                    in("rcx") this.rcx,
                    in("rdx") this.rdx,
                    in("rsi") this.rsi,
                    in("rdi") this.rdi,
                    options(noreturn),
                )
            }
        });
        match result {
            Err(trap) => trap,
            Ok(never) => match never {},
        }
    }
}
