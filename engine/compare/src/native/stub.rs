//! The way into a case and out of it: all registers loaded and saved, in assembly.
//!
//! No register is free at either end, so both work on one static [`Context`] by RIP-relative addresses.
//! Every child is a process with a single thread, so it has a context of its own.
//!
//! In: XRSTOR, the general registers, then IRETQ for RIP, RSP and RFLAGS at once (it also serializes, which
//! code written through another mapping needs). Out: a jump from the page at EXIT to [`leave`], or the signal
//! handler calling [`abandon`]; both return from [`enter`] to its caller.

#![allow(unsafe_code)] // naked functions and the static they share

use std::arch::naked_asm;
use std::cell::UnsafeCell;
use std::mem::offset_of;

use x86::{Fpu, xfeature};

use super::NativeError;

/// Registers on their way in and out.
#[repr(C, align(64))]
pub(super) struct Context {
    pub fpu: Fpu,
    pub gpr: [u64; 16],
    pub rflags: u64,
    /// What IRETQ takes: RIP, CS, RFLAGS, RSP, SS.
    pub frame: [u64; 5],
    /// The caller of `enter`.
    host_rsp: u64,
    /// State components that the host has enabled, of those in `Fpu`.
    pub components: u64,
    mxcsr: u32,
    /// Where `leave` keeps the flags for a moment.
    scratch: [u64; 4],
}

/// A static for assembly.
#[repr(transparent)]
pub(super) struct Shared(UnsafeCell<Context>);

// SAFETY: only the single thread of a child touches it.
unsafe impl Sync for Shared {}

impl Shared {
    pub const fn get(&self) -> *mut Context {
        self.0.get()
    }
}

// SAFETY: integers and arrays of integers, for all of which zero is a value.
static CONTEXT: Shared = Shared(UnsafeCell::new(unsafe { std::mem::zeroed() }));

/// The context.
pub(super) fn context() -> *mut Context {
    CONTEXT.get()
}

/// The user code and data segments of 64-bit Linux.
pub(super) const USER_CS: u64 = 0x33;
pub(super) const USER_SS: u64 = 0x2b;

/// Is the host such that the stub works?
pub(super) fn check_host() -> Result<(), NativeError> {
    if !std::is_x86_feature_detected!("xsave") {
        return Err(NativeError::Unsupported("a host CPU with XSAVE"));
    }
    const FSGSBASE: u64 = 1 << 1; // HWCAP2_FSGSBASE
    // SAFETY: takes no pointers.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE == 0 {
        return Err(NativeError::Unsupported("FSGSBASE of the host's CPU and kernel (Linux 5.9 or newer)"));
    }
    Ok(())
}

/// The state components of ours that the host has enabled.
pub(super) fn host_components() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: `check_host` found XSAVE enabled, hence XGETBV works.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    (u64::from(low) | u64::from(high) << 32) & (xfeature::X87 | xfeature::SSE | xfeature::AVX)
}

/// Sets the context's constants.
pub(super) fn prepare() {
    let context = context();
    // SAFETY: the only thread.
    unsafe {
        (*context).components = host_components();
        (*context).mxcsr = 0x1f80;
    }
}

const GPR: usize = offset_of!(Context, gpr);

/// Loads the context and goes to its RIP. Returns when the case is over.
///
/// # Safety
/// Only in a prepared child, with FS no longer needed by anybody.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn enter() {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov [rip + {c} + {host_rsp}], rsp",
        "mov eax, [rip + {c} + {components}]",
        "xor edx, edx",
        "xrstor64 [rip + {c}]",
        "lea rsp, [rip + {c} + {frame}]",
        "mov rax, [rip + {c} + {gpr} + 0]",
        "mov rcx, [rip + {c} + {gpr} + 8]",
        "mov rdx, [rip + {c} + {gpr} + 16]",
        "mov rbx, [rip + {c} + {gpr} + 24]",
        "mov rbp, [rip + {c} + {gpr} + 40]",
        "mov rsi, [rip + {c} + {gpr} + 48]",
        "mov rdi, [rip + {c} + {gpr} + 56]",
        "mov r8, [rip + {c} + {gpr} + 64]",
        "mov r9, [rip + {c} + {gpr} + 72]",
        "mov r10, [rip + {c} + {gpr} + 80]",
        "mov r11, [rip + {c} + {gpr} + 88]",
        "mov r12, [rip + {c} + {gpr} + 96]",
        "mov r13, [rip + {c} + {gpr} + 104]",
        "mov r14, [rip + {c} + {gpr} + 112]",
        "mov r15, [rip + {c} + {gpr} + 120]",
        "iretq",
        c = sym CONTEXT,
        host_rsp = const offset_of!(Context, host_rsp),
        components = const offset_of!(Context, components),
        frame = const offset_of!(Context, frame),
        gpr = const GPR,
    )
}

/// Saves everything and returns from [`enter`]. The page at EXIT jumps here.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn leave() {
    naked_asm!(
        "mov [rip + {c} + {gpr} + 0], rax",
        "mov [rip + {c} + {gpr} + 8], rcx",
        "mov [rip + {c} + {gpr} + 16], rdx",
        "mov [rip + {c} + {gpr} + 24], rbx",
        "mov [rip + {c} + {gpr} + 32], rsp",
        "mov [rip + {c} + {gpr} + 40], rbp",
        "mov [rip + {c} + {gpr} + 48], rsi",
        "mov [rip + {c} + {gpr} + 56], rdi",
        "mov [rip + {c} + {gpr} + 64], r8",
        "mov [rip + {c} + {gpr} + 72], r9",
        "mov [rip + {c} + {gpr} + 80], r10",
        "mov [rip + {c} + {gpr} + 88], r11",
        "mov [rip + {c} + {gpr} + 96], r12",
        "mov [rip + {c} + {gpr} + 104], r13",
        "mov [rip + {c} + {gpr} + 112], r14",
        "mov [rip + {c} + {gpr} + 120], r15",
        "lea rsp, [rip + {c} + {scratch} + 24]",
        "pushfq",
        "pop rax",
        "mov [rip + {c} + {rflags}], rax",
        "push 2",
        "popfq",
        "mov eax, [rip + {c} + {components}]",
        "xor edx, edx",
        "xsave64 [rip + {c}]",
        "fninit",
        "ldmxcsr [rip + {c} + {mxcsr}]",
        "test al, 4",
        "jz 2f",
        "vzeroupper",
        "2:",
        "mov rsp, [rip + {c} + {host_rsp}]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        c = sym CONTEXT,
        host_rsp = const offset_of!(Context, host_rsp),
        components = const offset_of!(Context, components),
        scratch = const offset_of!(Context, scratch),
        rflags = const offset_of!(Context, rflags),
        mxcsr = const offset_of!(Context, mxcsr),
        gpr = const GPR,
    )
}

/// Returns from [`enter`] without saving anything. For the signal handler, which has found it all in its
/// frame; the kernel has given it fresh flags and floating-point state.
///
/// # Safety
/// Only while a case runs.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn abandon() -> ! {
    naked_asm!(
        "mov rsp, [rip + {c} + {host_rsp}]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        c = sym CONTEXT,
        host_rsp = const offset_of!(Context, host_rsp),
    )
}
