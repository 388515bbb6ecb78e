//! [`exec!`]: one instruction, its registers in and out.

/// The registers after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Regs {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub flags: u64,
}

/// Executes instructions that use RAX, RCX, RDX, RSI and RDI (the last two from `$si`, `$di` or
/// undefined) and the status flags, and returns the registers after them.
macro_rules! exec {
    ($code:expr, $rax:expr, $rcx:expr, $rdx:expr, $flags:expr) => {{
        let (mut rax, mut rcx, mut rdx) = ($rax as u64, $rcx as u64, $rdx as u64);
        let mut flags = $flags as u64 | 2;
        #[allow(unused_unsafe)]
        // SAFETY: the caller's instructions touch these registers and memory of the test.
        unsafe {
            core::arch::asm!(
                "push r11", "popfq",
                $code,
                "pushfq", "pop r11", "cld",
                inout("rax") rax, inout("rcx") rcx, inout("rdx") rdx, inout("r11") flags,
                out("rsi") _, out("rdi") _, out("r8") _, out("r9") _, out("r10") _,
            );
        }
        $crate::tests::exec::Regs { rax, rcx, rdx, flags }
    }};
}
