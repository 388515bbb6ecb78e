//! Single steps by TF.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::harness::Outcome;
use crate::hw::cpu::flags::TF;
use crate::trap::{self, vector};

family!("exceptions": single_step, step_over_rep, step_and_popf, step_over_int, step_over_mov_ss, step_is_cleared_by_fault);

static STEPS: AtomicU64 = AtomicU64::new(0);
static LAST_DR6: AtomicU64 = AtomicU64::new(0);
static ENTRY_TF: AtomicU64 = AtomicU64::new(0);

/// Counts a step; leaves the stepped code's own TF as it is.
fn count(frame: &mut trap::Frame) {
    STEPS.fetch_add(1, Ordering::Relaxed);
    LAST_DR6.store(frame.dr6, Ordering::Relaxed);
    crate::hw::cpu::set_dr6(0xffff_0ff0);
}

fn start() {
    STEPS.store(0, Ordering::Relaxed);
    trap::handle(vector::DB, count);
}

fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed)
}

/// A trap after each instruction, first after the one that follows POPF.
fn single_step() -> Outcome {
    start();
    // PUSHFQ, OR, POPFQ set TF; then INC, INC, NOP and the PUSHFQ, AND, POPFQ that clear it.
    let got = exec!(
        "pushfq; or dword ptr [rsp], 0x100; popfq
         inc eax; inc eax; nop
         pushfq; and dword ptr [rsp], 0xfffffeff; popfq; nop",
        0,
        0,
        0,
        0
    );
    check_eq!(got.rax, 2, "what was stepped through");
    // The POPF that clears TF is itself still followed by a trap: TF was set when it began.
    check_eq!(steps(), 6, "traps");
    check_eq!(LAST_DR6.load(Ordering::Relaxed) & 0xe00f, 0x4000, "BS in DR6");
    check_eq!(got.flags & TF, 0, "TF");
    Ok(())
}

/// A repeated instruction traps after each element.
fn step_over_rep() -> Outcome {
    start();
    let at = crate::hw::pages::frame();
    exec!(
        "pushfq; or dword ptr [rsp], 0x100; popfq
         rep stosb
         pushfq; and dword ptr [rsp], 0xfffffeff; popfq; nop",
        0, 5, 0, 0; 0, at
    );
    check_eq!(steps(), 5 + 3, "traps");
    Ok(())
}

/// The pushed flags hold TF while stepping, the handler runs without.
fn step_and_popf() -> Outcome {
    STEPS.store(0, Ordering::Relaxed);
    trap::handle(vector::DB, |frame| {
        STEPS.fetch_add(1, Ordering::Relaxed);
        ENTRY_TF.store(frame.rflags & TF, Ordering::Relaxed);
        frame.rflags &= !TF;
    });
    exec!("pushfq; or dword ptr [rsp], 0x100; popfq; nop; nop; nop", 0, 0, 0, 0);
    check_eq!(steps(), 1, "traps once the handler cleared TF");
    check_eq!(ENTRY_TF.load(Ordering::Relaxed), TF, "TF in the frame");
    Ok(())
}

/// INT n clears TF on its way in: the trap comes after the IRET, at the instruction behind it.
fn step_over_int() -> Outcome {
    start();
    trap::handle(0x80, |frame| frame.rax += 1);
    exec!(
        "pushfq; or dword ptr [rsp], 0x100; popfq
         nop; int 0x80; nop
         pushfq; and dword ptr [rsp], 0xfffffeff; popfq; nop",
        0,
        0,
        0,
        0
    );
    // NOP, (INT gives none), the NOP after it, PUSHF, AND, POPF.
    check_eq!(steps(), 5, "traps");
    Ok(())
}

/// MOV SS holds the trap back past the next instruction.
fn step_over_mov_ss() -> Outcome {
    start();
    exec!(
        "mov ecx, ss
         pushfq; or dword ptr [rsp], 0x100; popfq
         nop; mov ss, ecx; nop
         pushfq; and dword ptr [rsp], 0xfffffeff; popfq; nop",
        0,
        0,
        0,
        0
    );
    check_eq!(steps(), 5, "traps");
    Ok(())
}

/// A fault is delivered with TF saved and clear in the handler.
fn step_is_cleared_by_fault() -> Outcome {
    start();
    let trap = expect!(UD, exec!("pushfq; or dword ptr [rsp], 0x100; popfq; nop; ud2", 0, 0, 0, 0));
    check_eq!(trap.rflags & TF, TF, "TF in the frame");
    check_eq!(steps(), 1, "traps");
    Ok(())
}
