//! `exec!`: instructions, with their registers in and out.

/// The registers after an instruction.
#[derive(Clone, Copy)]
pub struct Regs {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub flags: u64,
}

/// Executes instructions and returns the registers after them.
///
/// They get RAX, RCX, RDX, the flags, and after a semicolon RSI and RDI; R11 holds the flags
/// word. They may also change R8 to R11 and DF.
macro_rules! exec {
    ($code:expr, $rax:expr, $rcx:expr, $rdx:expr, $flags:expr) => {
        exec!($code, $rax, $rcx, $rdx, $flags; 0, 0)
    };
    ($code:expr, $rax:expr, $rcx:expr, $rdx:expr, $flags:expr; $rsi:expr) => {
        exec!($code, $rax, $rcx, $rdx, $flags; $rsi, 0)
    };
    ($code:expr, $rax:expr, $rcx:expr, $rdx:expr, $flags:expr; $rsi:expr, $rdi:expr) => {{
        let (mut rax, mut rcx, mut rdx) = ($rax as u64, $rcx as u64, $rdx as u64);
        let (mut rsi, mut rdi) = ($rsi as u64, $rdi as u64);
        let mut flags = $flags as u64;
        #[allow(unused_unsafe)]
        // SAFETY: the caller's instructions touch these registers and memory of the test.
        unsafe {
            core::arch::asm!(
                "push r11", "popfq",
                $code,
                "pushfq", "pop r11", "cld",
                inout("rax") rax, inout("rcx") rcx, inout("rdx") rdx, inout("r11") flags,
                inout("rsi") rsi, inout("rdi") rdi,
                out("r8") _, out("r9") _, out("r10") _,
            );
        }
        $crate::tests::exec::Regs { rax, rcx, rdx, rsi, rdi, flags }
    }};
}
