//! Instructions that are meant to fault, and what the kernel says of it.
//!
//! An attempt is a piece of assembly that puts the address of its end into R10 before the instruction in
//! question. When that faults, the handler notes what the signal and the saved context say, and returns to
//! where R10 points. So an attempt always ends, with or without a trap. One thread at a time.

#![allow(unsafe_code)] // faults on purpose

use std::arch::asm;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use nix::libc::{self, c_int, c_void, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::access;

/// What a fault was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// The signal's number.
    pub signal: i64,
    /// `si_code`, the reason.
    pub code: i64,
    /// `si_addr`, the address of the data or of the instruction.
    pub address: usize,
    /// Where the saved context would go on.
    pub instruction: usize,
    /// The processor's exception number.
    pub vector: i64,
    /// The processor's error code; for page faults, see the manual's volume 3, section 4.7.
    pub error: i64,
}

static ARMED: AtomicBool = AtomicBool::new(false);
static CAUGHT: [AtomicI64; 6] = [const { AtomicI64::new(0) }; 6];

/// x87 control word and MXCSR with every exception masked and none raised.
const QUIET_X87: u16 = 0x037f;
const QUIET_SSE: u32 = 0x1f80;

/// Takes over the signals of faults.
///
/// # Errors
/// That of sigaction.
pub fn install() -> io::Result<()> {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::SigAction(handle), flags, SigSet::empty());
    for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP] {
        // SAFETY: the handler is async-signal-safe: it uses atomics and the context that it is given.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both, alive and ours for the handler's time.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<ucontext_t>()) };
    let registers = &mut context.uc_mcontext.gregs;
    if !ARMED.swap(false, SeqCst) {
        // Nobody's attempt: a mistake of this program, which the default action reports when we return to it.
        // SAFETY: restores the default action of a signal, which is async-signal-safe.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: the signals that we take over are faults, which have an address.
    let address = unsafe { info.si_addr() } as i64;
    let facts = [
        i64::from(signal),
        i64::from(info.si_code),
        address,
        registers[libc::REG_RIP as usize],
        registers[libc::REG_TRAPNO as usize],
        registers[libc::REG_ERR as usize],
    ];
    for (slot, fact) in CAUGHT.iter().zip(facts) {
        slot.store(fact, SeqCst);
    }
    registers[libc::REG_RIP as usize] = registers[libc::REG_R10 as usize];
    // SAFETY: the pointer is null or to the saved FPU state, ours as the rest.
    if let Some(fpu) = unsafe { context.uc_mcontext.fpregs.as_mut() } {
        fpu.cwd = QUIET_X87;
        fpu.swd &= 0x7f00; // the stack's top and conditions, without exceptions
        fpu.mxcsr = QUIET_SSE;
    }
}

/// Runs an attempt. Its trap, or `None` where it went through.
pub fn attempt(body: impl FnOnce()) -> Option<Trap> {
    ARMED.store(true, SeqCst);
    body();
    if ARMED.swap(false, SeqCst) {
        return None;
    }
    let fact = |index: usize| CAUGHT[index].load(SeqCst);
    Some(Trap {
        signal: fact(0),
        code: fact(1),
        address: fact(2) as usize,
        instruction: fact(3) as usize,
        vector: fact(4),
        error: fact(5),
    })
}

/// Reads eight bytes.
///
/// # Errors
/// The trap, where that is not allowed.
pub fn read(address: usize) -> Result<u64, Trap> {
    let mut value = 0;
    let trap = attempt(|| value = access::load(address).unwrap_or_default());
    trap.map_or(Ok(value), Err)
}

/// Writes eight bytes.
///
/// # Safety
/// If the address is mapped for writing, nobody else relies on what is there.
///
/// # Errors
/// The trap, where that is not allowed.
pub unsafe fn write(address: usize, value: u64) -> Result<(), Trap> {
    let trap = attempt(|| {
        // SAFETY: as the caller promises.
        unsafe { access::store(address, value) };
    });
    trap.map_or(Ok(()), Err)
}

/// Calls code that returns a number in RAX.
///
/// # Safety
/// If the address is mapped for execution, there is code that changes RAX, RCX, RDX, flags and what is its
/// own, and returns.
///
/// # Errors
/// The trap, where there is no code.
pub unsafe fn call(address: usize) -> Result<u64, Trap> {
    let mut value = 0;
    let trap = attempt(|| {
        // SAFETY: as the caller promises; a fault ends at the label, with the stack as before the call.
        unsafe {
            asm!(
                "lea r10, [rip + 2f]",
                "mov r11, rsp",
                "call {address}",
                "2:",
                "mov rsp, r11",
                address = in(reg) address,
                inout("rax") value,
                out("rcx") _,
                out("rdx") _,
                out("r10") _,
                out("r11") _,
            );
        }
    });
    trap.map_or(Ok(value), Err)
}
