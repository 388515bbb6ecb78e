//! The way into translated code and out of it.
//!
//! Inside, every host register but four belongs to the guest, RSP among them: there is no host stack.
//! `gs` leads to the frame, where the host's stack pointer waits. Signals are taken on the alternate stack.
//!
//! x87 state stays in the host's FPU across exits, because Rust never touches it; XMM and YMM are saved,
//! because Rust does.

#![allow(unsafe_code)] // assembly

use std::arch::naked_asm;
use std::mem::offset_of;

use crate::frame::{Frame, at};

const XMM: usize = offset_of!(x86::Legacy, xmm);
const YMM: usize = offset_of!(x86::Fpu, ymm_high);
const MXCSR: usize = offset_of!(x86::Legacy, mxcsr);

/// Enters translated code at `frame.entry` with the guest's registers; comes back when it is left.
///
/// # Safety
/// `frame` is the Rust alias of the frame whose other alias lies in front of `frame.context`;
/// `frame.entry` is a block's entry; `frame.fpu` points to an `x86::Fpu`; the thread has an alternate signal
/// stack, our handlers, and blocks all signals that are not synchronous.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter(frame: *mut Frame) {
    naked_asm!(
        "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15",
        "mov [rdi + {host_rsp}], rsp",
        "mov rax, [rdi + {context}]",
        "wrgsbase rax",
        "mov rax, [rdi + {fpu}]",
        "stmxcsr [rdi + {host_mxcsr}]",
        "ldmxcsr [rax + {mxcsr}]",
        // ZF: no upper half of a YMM register has anything in it. Then the CPU must know, or each SSE instruction waits
        // for its register's last use, to merge with it: whatever touched a YMM register, VZEROUPPER comes after it.
        "test dword ptr [rdi + {wide}], 2",
        "jz 4f",
        "test dword ptr [rdi + {wide}], 1",
        "jz 3f",
        "vmovups ymm0, [rax + {ymm} + 0x00]", "vorps ymm0, ymm0, [rax + {ymm} + 0x20]",
        "vorps ymm0, ymm0, [rax + {ymm} + 0x40]", "vorps ymm0, ymm0, [rax + {ymm} + 0x60]",
        "vorps ymm0, ymm0, [rax + {ymm} + 0x80]", "vorps ymm0, ymm0, [rax + {ymm} + 0xa0]",
        "vorps ymm0, ymm0, [rax + {ymm} + 0xc0]", "vorps ymm0, ymm0, [rax + {ymm} + 0xe0]",
        "vptest ymm0, ymm0",
        "3:",
        "vzeroupper",
        "4:",
        "movaps xmm0, [rax + {xmm} + 0x00]", "movaps xmm1, [rax + {xmm} + 0x10]",
        "movaps xmm2, [rax + {xmm} + 0x20]", "movaps xmm3, [rax + {xmm} + 0x30]",
        "movaps xmm4, [rax + {xmm} + 0x40]", "movaps xmm5, [rax + {xmm} + 0x50]",
        "movaps xmm6, [rax + {xmm} + 0x60]", "movaps xmm7, [rax + {xmm} + 0x70]",
        "movaps xmm8, [rax + {xmm} + 0x80]", "movaps xmm9, [rax + {xmm} + 0x90]",
        "movaps xmm10, [rax + {xmm} + 0xa0]", "movaps xmm11, [rax + {xmm} + 0xb0]",
        "movaps xmm12, [rax + {xmm} + 0xc0]", "movaps xmm13, [rax + {xmm} + 0xd0]",
        "movaps xmm14, [rax + {xmm} + 0xe0]", "movaps xmm15, [rax + {xmm} + 0xf0]",
        "jz 2f",
        "vinsertf128 ymm0, ymm0, [rax + {ymm} + 0x00], 1", "vinsertf128 ymm1, ymm1, [rax + {ymm} + 0x10], 1",
        "vinsertf128 ymm2, ymm2, [rax + {ymm} + 0x20], 1", "vinsertf128 ymm3, ymm3, [rax + {ymm} + 0x30], 1",
        "vinsertf128 ymm4, ymm4, [rax + {ymm} + 0x40], 1", "vinsertf128 ymm5, ymm5, [rax + {ymm} + 0x50], 1",
        "vinsertf128 ymm6, ymm6, [rax + {ymm} + 0x60], 1", "vinsertf128 ymm7, ymm7, [rax + {ymm} + 0x70], 1",
        "vinsertf128 ymm8, ymm8, [rax + {ymm} + 0x80], 1", "vinsertf128 ymm9, ymm9, [rax + {ymm} + 0x90], 1",
        "vinsertf128 ymm10, ymm10, [rax + {ymm} + 0xa0], 1", "vinsertf128 ymm11, ymm11, [rax + {ymm} + 0xb0], 1",
        "vinsertf128 ymm12, ymm12, [rax + {ymm} + 0xc0], 1", "vinsertf128 ymm13, ymm13, [rax + {ymm} + 0xd0], 1",
        "vinsertf128 ymm14, ymm14, [rax + {ymm} + 0xe0], 1", "vinsertf128 ymm15, ymm15, [rax + {ymm} + 0xf0], 1",
        "2:",
        "push qword ptr [rdi + {flags}]",
        "popfq",
        "mov r13, gs:[{write_table}]",
        "mov rax, gs:[{g} + 0]",
        "mov rcx, gs:[{g} + 8]",
        "mov rdx, gs:[{g} + 16]",
        "mov rbx, gs:[{g} + 24]",
        "mov rsp, gs:[{g} + 32]",
        "mov rbp, gs:[{g} + 40]",
        "mov rsi, gs:[{g} + 48]",
        "mov rdi, gs:[{g} + 56]",
        "mov r8, gs:[{g} + 64]",
        "mov r9, gs:[{g} + 72]",
        "mov r10, gs:[{g} + 80]",
        "mov r11, gs:[{g} + 88]",
        "mov r12, gs:[{g} + 96]",
        "jmp gs:[{entry}]",
        host_rsp = const offset_of!(Frame, host_rsp),
        context = const offset_of!(Frame, context),
        fpu = const offset_of!(Frame, fpu),
        host_mxcsr = const offset_of!(Frame, host_mxcsr),
        wide = const offset_of!(Frame, wide),
        flags = const offset_of!(Frame, flags),
        mxcsr = const MXCSR,
        xmm = const XMM,
        ymm = const YMM,
        g = const at!(gpr),
        entry = const at!(entry),
        write_table = const at!(write_table),
    )
}

/// Leaves translated code: what [`Frame::leave`] points to. Reached by a jump with the guest's registers.
///
/// # Safety
/// Only translated code and the signal handler jump here.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave() {
    naked_asm!(
        "mov gs:[{g} + 0], rax",
        "mov gs:[{g} + 8], rcx",
        "mov gs:[{g} + 16], rdx",
        "mov gs:[{g} + 24], rbx",
        "mov gs:[{g} + 32], rsp",
        "mov gs:[{g} + 40], rbp",
        "mov gs:[{g} + 48], rsi",
        "mov gs:[{g} + 56], rdi",
        "mov gs:[{g} + 64], r8",
        "mov gs:[{g} + 72], r9",
        "mov gs:[{g} + 80], r10",
        "mov gs:[{g} + 88], r11",
        "mov gs:[{g} + 96], r12",
        "mov rsp, gs:[{host_rsp}]",
        "pushfq",
        "pop rax",
        "mov gs:[{flags}], rax",
        "mov rax, gs:[{fpu}]",
        "stmxcsr [rax + {mxcsr}]",
        "ldmxcsr gs:[{host_mxcsr}]",
        "movaps [rax + {xmm} + 0x00], xmm0", "movaps [rax + {xmm} + 0x10], xmm1",
        "movaps [rax + {xmm} + 0x20], xmm2", "movaps [rax + {xmm} + 0x30], xmm3",
        "movaps [rax + {xmm} + 0x40], xmm4", "movaps [rax + {xmm} + 0x50], xmm5",
        "movaps [rax + {xmm} + 0x60], xmm6", "movaps [rax + {xmm} + 0x70], xmm7",
        "movaps [rax + {xmm} + 0x80], xmm8", "movaps [rax + {xmm} + 0x90], xmm9",
        "movaps [rax + {xmm} + 0xa0], xmm10", "movaps [rax + {xmm} + 0xb0], xmm11",
        "movaps [rax + {xmm} + 0xc0], xmm12", "movaps [rax + {xmm} + 0xd0], xmm13",
        "movaps [rax + {xmm} + 0xe0], xmm14", "movaps [rax + {xmm} + 0xf0], xmm15",
        "test dword ptr gs:[{wide}], 1",
        "jz 2f",
        "vextractf128 [rax + {ymm} + 0x00], ymm0, 1", "vextractf128 [rax + {ymm} + 0x10], ymm1, 1",
        "vextractf128 [rax + {ymm} + 0x20], ymm2, 1", "vextractf128 [rax + {ymm} + 0x30], ymm3, 1",
        "vextractf128 [rax + {ymm} + 0x40], ymm4, 1", "vextractf128 [rax + {ymm} + 0x50], ymm5, 1",
        "vextractf128 [rax + {ymm} + 0x60], ymm6, 1", "vextractf128 [rax + {ymm} + 0x70], ymm7, 1",
        "vextractf128 [rax + {ymm} + 0x80], ymm8, 1", "vextractf128 [rax + {ymm} + 0x90], ymm9, 1",
        "vextractf128 [rax + {ymm} + 0xa0], ymm10, 1", "vextractf128 [rax + {ymm} + 0xb0], ymm11, 1",
        "vextractf128 [rax + {ymm} + 0xc0], ymm12, 1", "vextractf128 [rax + {ymm} + 0xd0], ymm13, 1",
        "vextractf128 [rax + {ymm} + 0xe0], ymm14, 1", "vextractf128 [rax + {ymm} + 0xf0], ymm15, 1",
        "vzeroupper",
        "2:",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
        "ret",
        g = const at!(gpr),
        host_rsp = const at!(host_rsp),
        flags = const at!(flags),
        fpu = const at!(fpu),
        host_mxcsr = const at!(host_mxcsr),
        wide = const at!(wide),
        mxcsr = const MXCSR,
        xmm = const XMM,
        ymm = const YMM,
    )
}

/// Where a return goes whose place in the ring is empty: out, with the target in R15. Only the last address there is
/// looks like such a place, and a jump to that needs no undoing.
///
/// # Safety
/// Only translated code jumps here.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn no_return() {
    naked_asm!(
        "mov gs:[{target}], r15",
        "mov qword ptr gs:[{kind}], {indirect}",
        "jmp gs:[{leave}]",
        target = const at!(target),
        kind = const at!(exit_kind),
        indirect = const crate::frame::ExitKind::Indirect as u64,
        leave = const at!(leave),
    )
}

/// Loads the host's x87 from an image.
pub(crate) fn load_x87(fpu: &x86::Fpu) {
    // The XMM part is loaded as well; compiled code holds no live XMM register across this call's asm.
    let mut image = *fpu;
    image.legacy.mxcsr = 0x1f80;
    // SAFETY: a valid, aligned FXSAVE image; MXCSR is the default that Rust runs under.
    unsafe {
        std::arch::asm!("fxrstor64 [{}]", in(reg) &raw const image.legacy, options(nostack),
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _);
    }
}

/// Stores the host's x87 into an image; its XMM part stays. The pointers to the last instruction and operand
/// would be the host's and are cleared. Leaves the host's x87 in the state Rust expects.
pub(crate) fn store_x87(fpu: &mut x86::Fpu) {
    let mut image = x86::Fpu::default();
    // SAFETY: an aligned FXSAVE image.
    unsafe {
        std::arch::asm!("fxsave64 [{}]", "fninit", in(reg) &raw mut image.legacy, options(nostack));
    }
    let to = &mut fpu.legacy;
    to.fcw = image.legacy.fcw;
    to.fsw = image.legacy.fsw;
    to.ftw = image.legacy.ftw;
    to.fop = 0;
    to.fip = 0;
    to.fdp = 0;
    to.st = image.legacy.st;
}
