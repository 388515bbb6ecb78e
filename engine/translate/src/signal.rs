//! Host faults in translated code.
//!
//! SIGSEGV and SIGBUS (a lookup or an access that failed), SIGFPE (#DE, #MF, #XM), SIGILL and SIGTRAP are caught
//! on the alternate stack. If they come from the code cache of this thread's vCPU, the handler notes where
//! and makes the thread go on in [`enter::leave`](crate::enter::leave), as if the code had left by itself;
//! anything else is a bug of ours and gets what it would have got without us.

#![allow(unsafe_code)] // signal handling

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

use crate::enter;
use crate::frame::{ExitKind, Frame};

/// What the handler needs to know of the thread it runs on.
#[derive(Clone, Copy)]
struct Here {
    code: u64,
    len: u64,
    frame: *mut Frame,
}

thread_local! {
    static HERE: Cell<Option<Here>> = const { Cell::new(None) };
    static STACK: Cell<bool> = const { Cell::new(false) };
}

const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];

static PREVIOUS: OnceLock<Vec<libc::sigaction>> = OnceLock::new();

/// Says that this thread executes code in `[code, code + len)` on `frame`, until the guard is dropped. Blocks
/// every other signal meanwhile: with the guest's stack pointer there is no stack to take them on.
pub(crate) fn guard(code: (u64, u64), frame: *mut Frame) -> io::Result<Guard> {
    install()?;
    alternate_stack()?;
    HERE.with(|here| here.set(Some(Here { code: code.0, len: code.1, frame })));
    // SAFETY: plain signal-set calls on local values.
    let before = unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        for signal in SIGNALS {
            libc::sigdelset(&raw mut all, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    Ok(Guard { before })
}

/// See [`guard`].
pub(crate) struct Guard {
    before: libc::sigset_t,
}

impl Drop for Guard {
    fn drop(&mut self) {
        HERE.with(|here| here.set(None));
        // SAFETY: restores the mask that was in force.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

fn install() -> io::Result<()> {
    let mut failed = None;
    PREVIOUS.get_or_init(|| {
        SIGNALS
            .iter()
            .map(|&signal| {
                // SAFETY: a zeroed sigaction is valid; the handler is async-signal-safe.
                unsafe {
                    let mut action: libc::sigaction = std::mem::zeroed();
                    let mut previous = std::mem::zeroed();
                    action.sa_sigaction = handler as *const () as usize;
                    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                    libc::sigfillset(&raw mut action.sa_mask);
                    if libc::sigaction(signal, &raw const action, &raw mut previous) != 0 {
                        failed = Some(io::Error::last_os_error());
                    }
                    previous
                }
            })
            .collect()
    });
    failed.map_or(Ok(()), Err)
}

/// Rust gives its threads an alternate stack too small for AVX-512 frames; this one is ours, for good.
fn alternate_stack() -> io::Result<()> {
    const BYTES: usize = 64 * 1024;
    if STACK.with(Cell::get) {
        return Ok(());
    }
    let memory = vec![0u8; BYTES].leak();
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: BYTES };
    // SAFETY: the memory is leaked on purpose: the thread may take signals on it until it ends.
    if unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    STACK.with(|stack| stack.set(true));
    Ok(())
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a ucontext.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    let rip = registers[libc::REG_RIP as usize] as u64;
    if let Some(here) = HERE.with(Cell::get)
        && rip.wrapping_sub(here.code) < here.len
    {
        // SAFETY: the guard keeps the frame alive; the thread was in translated code, so nobody has it borrowed.
        unsafe {
            (*here.frame).exit_kind = ExitKind::Fault as u64;
            (*here.frame).fault_at = rip;
        }
        registers[libc::REG_RIP as usize] = enter::leave as *const () as i64;
        return;
    }
    // Not ours: give it to whoever was there before; the default is death by this very signal.
    let index = SIGNALS.iter().position(|&s| s == signal).unwrap_or(0);
    let Some(previous) = PREVIOUS.get().and_then(|p| p.get(index)) else { return };
    if previous.sa_sigaction == libc::SIG_DFL || previous.sa_sigaction == libc::SIG_IGN {
        // SAFETY: puts the default back; returning executes the faulting instruction again.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: it was installed as such a handler.
    unsafe {
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
            std::mem::transmute(previous.sa_sigaction);
        handler(signal, info, std::ptr::from_mut(context).cast());
    }
}
