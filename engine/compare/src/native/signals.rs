//! The child's signal handler: how a case that faults comes back.
//!
//! The kernel hands over everything in the signal's frame: general registers, the exception's vector, error
//! code and CR2, and the extended state as an XSAVE image. The handler copies it and returns from
//! [`enter`](super::stub::enter) instead of from the signal.

#![allow(unsafe_code)] // reads the signal's frame

use std::arch::naked_asm;
use std::ptr;

use x86::{Fpu, Legacy};

use crate::end::{End, Stop};

use super::stub::abandon;

/// What the handler needs to know; the only thread of the child sets and reads it.
pub(super) struct Present {
    /// Where the running case's end goes; null while none runs.
    pub end: *mut End,
    /// Timer ticks that the case has seen.
    pub ticks: u32,
}

/// A static of the child's only thread.
pub(super) static mut PRESENT: Present = Present { end: ptr::null_mut(), ticks: 0 };

/// CPU time between two ticks in microseconds. A case that sees three runs on and on.
const TICK: libc::suseconds_t = 10_000;
const MOST_TICKS: u32 = 3;

/// The magic number before the extended part of the frame's XSAVE image
/// (arch/x86/include/uapi/asm/sigcontext.h).
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
/// Where it lies in the image.
const MAGIC_AT: usize = 464;

/// Bytes of the stack that signals run on; the frame with AVX-512 and AMX state takes 11 KiB of it.
const STACK: usize = 128 << 10;

/// Installs the handler, its stack and the timer.
pub(super) fn install() -> Result<(), libc::c_int> {
    // SAFETY: a fresh mapping; the structures are plain data and outlive the calls that read them.
    unsafe {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let stack = libc::mmap(ptr::null_mut(), STACK, rights, flags, -1, 0);
        if stack == libc::MAP_FAILED {
            return Err(super::views::errno());
        }
        let stack = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: STACK };
        if libc::sigaltstack(&raw const stack, ptr::null_mut()) < 0 {
            return Err(super::views::errno());
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = entry as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGSYS,
            libc::SIGVTALRM,
        ] {
            if libc::sigaction(signal, &raw const action, ptr::null_mut()) < 0 {
                return Err(super::views::errno());
            }
        }
        let tick = libc::timeval { tv_sec: 0, tv_usec: TICK };
        let timer = libc::itimerval { it_interval: tick, it_value: tick };
        if libc::setitimer(libc::ITIMER_VIRTUAL, &raw const timer, ptr::null_mut()) < 0 {
            return Err(super::views::errno());
        }
    }
    Ok(())
}

/// Clears what the kernel leaves set of a case's flags (AC, NT), then goes on in Rust.
#[unsafe(naked)]
unsafe extern "sysv64" fn entry() {
    naked_asm!(
        "pushfq",
        "and dword ptr [rsp], {mask}",
        "popfq",
        "jmp {handle}",
        mask = const !(x86::flags::AC | x86::flags::NT | x86::flags::TF | x86::flags::DF) as i32,
        handle = sym handle,
    )
}

/// Handles a signal. Returns only for timer ticks.
unsafe extern "sysv64" fn handle(
    signal: libc::c_int,
    _: *const libc::siginfo_t,
    frame: *const libc::ucontext_t,
) {
    // SAFETY: the only thread; the kernel's frame is whole.
    unsafe {
        let present = &raw mut PRESENT;
        let end = (*present).end;
        if end.is_null() {
            if signal == libc::SIGVTALRM {
                return;
            }
            super::child::exit(signal); // our own fault
        }
        let stop = match signal {
            libc::SIGVTALRM => {
                (*present).ticks += 1;
                if (*present).ticks < MOST_TICKS {
                    return;
                }
                Stop::ENDLESS
            }
            libc::SIGSYS => Stop::SYSTEM_CALL,
            _ => Stop::EXCEPTION,
        };
        (*end).stop = stop;
        copy(frame, &mut *end);
        abandon()
    }
}

/// Copies the state out of a signal's frame.
unsafe fn copy(frame: *const libc::ucontext_t, end: &mut End) {
    // SAFETY: the caller's.
    let machine = unsafe { &(*frame).uc_mcontext };
    let get = |register: i32| machine.gregs[register as usize] as u64;
    const ORDER: [i32; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    end.gpr = ORDER.map(get);
    end.rip = get(libc::REG_RIP);
    end.rflags = get(libc::REG_EFL);
    end.vector = get(libc::REG_TRAPNO) as u32;
    end.error = get(libc::REG_ERR) as u32;
    end.cr2 = if end.vector == 14 { get(libc::REG_CR2) } else { 0 };
    let image = machine.fpregs.cast::<u8>();
    // SAFETY: the frame holds at least the legacy region, and the whole image where the magic says so.
    unsafe {
        if image.add(MAGIC_AT).cast::<u32>().read_unaligned() == FP_XSTATE_MAGIC1 {
            end.fpu = image.cast::<Fpu>().read_unaligned();
        } else {
            end.fpu.legacy = image.cast::<Legacy>().read_unaligned();
        }
    }
}
