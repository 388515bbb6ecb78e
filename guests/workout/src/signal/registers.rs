//! What a signal interrupts finds all its registers as they were, although the handler uses them, too.

#![allow(unsafe_code)] // all registers

use std::arch::{asm, is_x86_feature_detected};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::Scale;
use crate::generate::Generator;
use crate::report::Report;

/// How often the signal came.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Registers, in memory; the assembly below knows the offsets.
#[repr(C)]
#[derive(Clone, PartialEq, Eq)]
struct Registers {
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15, and RFLAGS. From 0.
    general: [u64; 16],
    /// XMM0 to XMM15. From 128.
    vectors: [u128; 16],
    /// ST(0) and ST(1). From 384 and 394.
    stack: [[u8; 10]; 2],
    /// The x87's control word. From 404.
    control: u16,
    padding: u16,
    /// MXCSR. From 408.
    mxcsr: u32,
    padding_too: u32,
}

const _: () = assert!(size_of::<Registers>() == 416);

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(trample), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler counts, and changes registers that the kernel restores.
    unsafe { sigaction(Signal::SIGALRM, &action) }?;
    set_timer(1000)?;
    let mut generator = Generator::new(99);
    let mut kept = true;
    let mut upper = true;
    for _ in 0..5 * scale.rounds {
        let before = registers(&mut generator);
        let after = hold(&before, COUNT.load(SeqCst).wrapping_add(10));
        kept &= after == before;
        if is_x86_feature_detected!("avx") {
            let vectors = std::array::from_fn(|_| std::array::from_fn(|_| generator.next()));
            // SAFETY: the processor and the kernel have AVX.
            upper &= unsafe { hold_wide(&vectors, COUNT.load(SeqCst).wrapping_add(10)) } == vectors;
        }
    }
    set_timer(0)?;
    report.check("registers are kept", kept);
    report.check("wide registers are kept, where there are such", upper);
    report.check("signals came", COUNT.load(SeqCst) >= 50 * scale.rounds);
    Ok(())
}

/// SIGALRM every so many microseconds.
fn set_timer(interval: i64) -> io::Result<()> {
    let interval = libc::timeval { tv_sec: 0, tv_usec: interval };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: `timer` lives across the call.
    if unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Changes all that a signal is to keep, and counts.
extern "C" fn trample(_: c_int) {
    COUNT.fetch_add(1, SeqCst);
    // SAFETY: all that is changed is declared, but MXCSR, which is changed back, and the x87's control word,
    // which the kernel restores.
    unsafe {
        asm!(
            "fninit", "fldz", "fldz", "fldz",
            "push 0x1f80", "ldmxcsr dword ptr [rsp]", "pop rax",
            "xor eax, eax", "mov ecx, -1", "mov edx, -1", "mov rsi, rax", "mov rdi, rax",
            "mov r8, rax", "mov r9, rax", "mov r10, rax", "mov r11, rax",
            "mov r12, rax", "mov r13, rax", "mov r14, rax", "mov r15, rax",
            "pcmpeqd xmm0, xmm0", "pcmpeqd xmm1, xmm1", "pcmpeqd xmm2, xmm2", "pcmpeqd xmm3, xmm3",
            "pcmpeqd xmm4, xmm4", "pcmpeqd xmm5, xmm5", "pcmpeqd xmm6, xmm6", "pcmpeqd xmm7, xmm7",
            "pcmpeqd xmm8, xmm8", "pcmpeqd xmm9, xmm9", "pcmpeqd xmm10, xmm10", "pcmpeqd xmm11, xmm11",
            "pcmpeqd xmm12, xmm12", "pcmpeqd xmm13, xmm13", "pcmpeqd xmm14, xmm14", "pcmpeqd xmm15, xmm15",
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    if is_x86_feature_detected!("avx") {
        // SAFETY: the processor and the kernel have AVX.
        unsafe {
            asm!("vzeroall", out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _,
            out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _)
        };
    }
}

fn registers(generator: &mut Generator) -> Registers {
    let mut number = |top: u8| {
        // A normal number: the leading bit set, a small exponent.
        let mut number = [0; 10];
        number[..8].copy_from_slice(&(generator.next() | 1 << 63).to_le_bytes());
        number[8..].copy_from_slice(&[top, 0x40]);
        number
    };
    let stack = [number(3), number(9)];
    let mut general = std::array::from_fn(|_| generator.next());
    // What the loop leaves of RFLAGS: equal (ZF and PF), the reserved bit, interrupts on, and the direction
    // flag, which the assembly sets and a handler is to be entered without.
    general[15] = 0x646;
    Registers {
        general,
        vectors: std::array::from_fn(|_| u128::from(generator.next()) << 64 | u128::from(generator.next())),
        stack,
        control: 0x0b7f,
        padding: 0,
        mxcsr: 0x7f80,
        padding_too: 0,
    }
}

/// Loads all registers, waits until the signal has come so often, and returns what is in the registers then.
fn hold(before: &Registers, until: u32) -> Registers {
    let mut after = before.clone();
    // SAFETY: reads `before`, writes `after`, both by the layout of Registers; whatever the compiler has in
    // RBX and RBP is saved on the stack, the rest is declared; the FPU's and SSE's control are left as the
    // language wants them.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "push rsi",         // after
            "push rdx",         // until, at [rsp]
            "fninit",
            "fld tbyte ptr [rdi + 394]",
            "fld tbyte ptr [rdi + 384]",
            "fldcw word ptr [rdi + 404]",
            "ldmxcsr dword ptr [rdi + 408]",
            "movups xmm0, [rdi + 128]", "movups xmm1, [rdi + 144]", "movups xmm2, [rdi + 160]",
            "movups xmm3, [rdi + 176]", "movups xmm4, [rdi + 192]", "movups xmm5, [rdi + 208]",
            "movups xmm6, [rdi + 224]", "movups xmm7, [rdi + 240]", "movups xmm8, [rdi + 256]",
            "movups xmm9, [rdi + 272]", "movups xmm10, [rdi + 288]", "movups xmm11, [rdi + 304]",
            "movups xmm12, [rdi + 320]", "movups xmm13, [rdi + 336]", "movups xmm14, [rdi + 352]",
            "movups xmm15, [rdi + 368]",
            "mov rax, [rdi]", "mov rbx, [rdi + 8]", "mov rcx, [rdi + 16]", "mov rdx, [rdi + 24]",
            "mov rsi, [rdi + 32]", "mov rbp, [rdi + 48]", "mov r8, [rdi + 56]", "mov r9, [rdi + 64]",
            "mov r10, [rdi + 72]", "mov r11, [rdi + 80]", "mov r12, [rdi + 88]", "mov r13, [rdi + 96]",
            "mov r14, [rdi + 104]", "mov r15, [rdi + 112]",
            "mov rdi, [rdi + 40]",
            "std",
            "2:",
            "push rax",
            "mov eax, [rip + {count}]",
            "cmp eax, [rsp + 8]",
            "pop rax",
            "jb 2b",
            "cmp esp, esp",     // defined arithmetic flags
            "pushfq",
            "cld",
            "push rdi",
            "mov rdi, [rsp + 24]",
            "mov [rdi], rax", "mov [rdi + 8], rbx", "mov [rdi + 16], rcx", "mov [rdi + 24], rdx",
            "mov [rdi + 32], rsi", "mov [rdi + 48], rbp", "mov [rdi + 56], r8", "mov [rdi + 64], r9",
            "mov [rdi + 72], r10", "mov [rdi + 80], r11", "mov [rdi + 88], r12", "mov [rdi + 96], r13",
            "mov [rdi + 104], r14", "mov [rdi + 112], r15",
            "pop rax",
            "mov [rdi + 40], rax",
            "pop rax",
            "mov [rdi + 120], rax",
            "movups [rdi + 128], xmm0", "movups [rdi + 144], xmm1", "movups [rdi + 160], xmm2",
            "movups [rdi + 176], xmm3", "movups [rdi + 192], xmm4", "movups [rdi + 208], xmm5",
            "movups [rdi + 224], xmm6", "movups [rdi + 240], xmm7", "movups [rdi + 256], xmm8",
            "movups [rdi + 272], xmm9", "movups [rdi + 288], xmm10", "movups [rdi + 304], xmm11",
            "movups [rdi + 320], xmm12", "movups [rdi + 336], xmm13", "movups [rdi + 352], xmm14",
            "movups [rdi + 368], xmm15",
            "fnstcw word ptr [rdi + 404]",
            "fstp tbyte ptr [rdi + 384]",
            "fstp tbyte ptr [rdi + 394]",
            "stmxcsr dword ptr [rdi + 408]",
            "fninit",
            "push 0x1f80",
            "ldmxcsr dword ptr [rsp]",
            "pop rax",
            "pop rdx",
            "pop rsi",
            "pop rbp",
            "pop rbx",
            count = sym COUNT,
            inout("rdi") before => _,
            inout("rsi") &raw mut after => _,
            inout("rdx") u64::from(until) => _,
            out("rax") _, out("rcx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _,
            out("r13") _, out("r14") _, out("r15") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    after
}

/// As [`hold`], with the 256-bit registers.
///
/// # Safety
/// There are such.
unsafe fn hold_wide(before: &[[u64; 4]; 8], until: u32) -> [[u64; 4]; 8] {
    let mut after = [[0; 4]; 8];
    // SAFETY: reads and writes eight times 32 bytes; all that is changed is declared.
    unsafe {
        asm!(
            "vmovups ymm0, [{before}]", "vmovups ymm1, [{before} + 32]", "vmovups ymm2, [{before} + 64]",
            "vmovups ymm3, [{before} + 96]", "vmovups ymm12, [{before} + 128]", "vmovups ymm13, [{before} + 160]",
            "vmovups ymm14, [{before} + 192]", "vmovups ymm15, [{before} + 224]",
            "2:",
            "cmp [rip + {count}], {until:e}",
            "jb 2b",
            "vmovups [{after}], ymm0", "vmovups [{after} + 32], ymm1", "vmovups [{after} + 64], ymm2",
            "vmovups [{after} + 96], ymm3", "vmovups [{after} + 128], ymm12", "vmovups [{after} + 160], ymm13",
            "vmovups [{after} + 192], ymm14", "vmovups [{after} + 224], ymm15",
            "vzeroupper",
            count = sym COUNT,
            before = in(reg) before,
            until = in(reg) until,
            after = in(reg) &raw mut after,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    after
}
