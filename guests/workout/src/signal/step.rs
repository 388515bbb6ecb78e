//! Single steps: a trap after each instruction while the trap flag is set, and after each round of a repeated
//! one.

#![allow(unsafe_code)] // the trap flag

use std::arch::asm;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

use nix::libc::{self, c_int, c_void, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::report::Report;
use crate::trap;

static STEPS: [AtomicI64; 64] = [const { AtomicI64::new(0) }; 64];
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub fn run(report: &mut Report) -> io::Result<()> {
    let action = SigAction::new(SigHandler::SigAction(step), SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler only stores to atomics.
    unsafe { sigaction(Signal::SIGTRAP, &action) }?;
    let mut buffer = [0_u8; 5];
    let start: i64;
    // SAFETY: the traps' handler changes nothing; five bytes are written to a buffer of five; the trap flag
    // is clear at the end as at the start.
    unsafe {
        asm!(
            "lea {start}, [rip + 2f]",
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "2:",               // the first trap is after the instruction that follows POPFQ
            "nop",
            "mov eax, 7",
            "rep stosb",        // a trap after each of five
            "cmp eax, 7",
            "je 3f",
            "ud2",
            "3:",
            "push rax",
            "pop rax",
            "pushfq",
            "and qword ptr [rsp], -257",
            "popfq",            // still traps, as the flag was set when it began
            "nop",              // does not
            start = out(reg) start,
            inout("rdi") buffer.as_mut_ptr() => _,
            inout("rcx") buffer.len() => _,
            out("rax") _,
        );
    }
    let steps: Vec<i64> =
        STEPS[..COUNT.load(SeqCst).min(STEPS.len())].iter().map(|at| at.load(SeqCst) - start).collect();
    report.value("steps", format_args!("{steps:?}"));
    // 1 nop, 1 mov, 5 stosb, cmp, je, push, pop, pushfq, and, popfq
    report.expect("number of steps", steps.len(), 14);
    report.expect("stored on the way", buffer, [7; 5]);
    trap::install()
}

extern "C" fn step(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both, alive for the handler's time.
    let (info, context) = unsafe { (&*info, &*context.cast::<ucontext_t>()) };
    if info.si_code == libc::TRAP_TRACE
        && let Some(slot) = STEPS.get(COUNT.fetch_add(1, SeqCst))
    {
        slot.store(context.uc_mcontext.gregs[libc::REG_RIP as usize], SeqCst);
    }
}
